#define _GNU_SOURCE
#include "serve/vol.h"
#include "serve/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Zeros that are written by hand go out in pieces of this size: large enough for the disk, small enough to allocate. */
enum { ZERO_PIECE = 1 << 20 };

struct nbdsvc_vol {
	int fd;
	_Atomic int is_block; /* this and the next two change with the descriptor (adopt), while others read */
	_Atomic int block_size;
	_Atomic int can_punch;
	int write_through; /* what changes the volume is answered when it is on stable storage */
	_Atomic int64_t seen_size; /* when it was last read; a volume never shrinks while it is served */
	struct nbdsvc_durable durable;
};

static int probe_punch(struct nbdsvc_vol *vol, int flags)
{
	if (flags & NBDSVC_VOL_READ_ONLY)
		return 0;
	if (vol->is_block)
		return 1; /* requested as BLKDEV fallocate; a device that cannot fails each request */
	/* Punching beyond the end of a file changes nothing and tells whether the file system can. */
	struct stat st;
	if (fstat(vol->fd, &st) < 0)
		return 0;
	off_t end = (st.st_size + 4095) & ~4095LL;
	return fallocate(vol->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end, 4096) == 0;
}

int nbdsvc_vol_create(const char *path, int flags, struct nbdsvc_vol **ret)
{
	struct nbdsvc_vol *vol = calloc(1, sizeof(*vol));
	if (!vol)
		return -ENOMEM;
	nbdsvc_durable_init(&vol->durable);
	int err;
	struct stat st;
	/* A volume's file is never a link or a pipe: who puts one in its place would have another file served. An LV's name
	 * below /dev is a link of udev's. */
	int plain = strncmp(path, "/dev/", 5) ? O_NOFOLLOW | O_NONBLOCK : 0;
	vol->fd = open(path, (flags & NBDSVC_VOL_READ_ONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC | plain);
	if (vol->fd < 0 || fstat(vol->fd, &st) < 0) {
		err = -errno;
		goto fail;
	}
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)) {
		err = -EINVAL;
		goto fail;
	}
	vol->is_block = S_ISBLK(st.st_mode);
	int block_size = 512;
	if (vol->is_block)
		ioctl(vol->fd, BLKSSZGET, &block_size);
	vol->block_size = block_size;
	vol->can_punch = probe_punch(vol, flags);
	vol->write_through = !!(flags & NBDSVC_VOL_WRITE_THROUGH);
	*ret = vol;
	return 0;
fail:
	if (vol->fd >= 0)
		close(vol->fd);
	nbdsvc_durable_deinit(&vol->durable);
	free(vol);
	return err;
}

void nbdsvc_vol_destroy(struct nbdsvc_vol *vol)
{
	if (!vol)
		return;
	close(vol->fd);
	nbdsvc_durable_deinit(&vol->durable);
	free(vol);
}

/* By what the descriptor is now: a file may have taken the place of a device since is_block was read. */
int64_t nbdsvc_vol_size(struct nbdsvc_vol *vol)
{
	struct stat st;
	uint64_t size;
	if (fstat(vol->fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return st.st_size;
	if (ioctl(vol->fd, BLKGETSIZE64, &size) < 0)
		return errno == ENOTTY && fstat(vol->fd, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -errno;
	return size;
}

int nbdsvc_vol_block_size(struct nbdsvc_vol *vol)
{
	return vol->block_size;
}

int nbdsvc_vol_can_punch(struct nbdsvc_vol *vol)
{
	return vol->can_punch;
}

int nbdsvc_vol_is_rotational(struct nbdsvc_vol *vol)
{
	unsigned short rotational = 0;
	if (vol->is_block && ioctl(vol->fd, BLKROTATIONAL, &rotational) < 0)
		return 0;
	return rotational;
}

/* The volume may have grown since. A write beyond its end would make a file larger. */
int nbdsvc_vol_has(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset)
{
	if (offset > INT64_MAX || length > INT64_MAX - offset)
		return 0;
	if ((int64_t)(offset + length) > vol->seen_size)
		vol->seen_size = nbdsvc_vol_size(vol);
	return (int64_t)(offset + length) <= vol->seen_size;
}

int nbdsvc_vol_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset)
{
	if (!nbdsvc_vol_has(vol, length, offset))
		return -EINVAL;
	char *at = buffer;
	while (length) {
		ssize_t got = pread(vol->fd, at, length, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EIO; /* the volume has become shorter than the size that the client was given */
		at += got;
		offset += got;
		length -= got;
	}
	return 0;
}

static int put_all(struct nbdsvc_vol *vol, const char *at, size_t length, uint64_t offset)
{
	while (length) {
		ssize_t put = pwrite(vol->fd, at, length, offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		offset += put;
		length -= put;
	}
	return 0;
}

/* Syncs a request that must be on stable storage when it is answered: by its FUA flag, or by write_through. */
static int settle(struct nbdsvc_vol *vol, int err, int flags)
{
	return !err && (vol->write_through || (flags & NBDSVC_FUA)) ? nbdsvc_durable_sync(&vol->durable, vol->fd) : err;
}

int nbdsvc_vol_pwrite(struct nbdsvc_vol *vol, const void *buffer, size_t length, uint64_t offset, int flags)
{
	if (!nbdsvc_vol_has(vol, length, offset))
		return -ENOSPC;
	return settle(vol, put_all(vol, buffer, length, offset), flags);
}

/*
 * With write-through, whatever we answered is there already; and after one fdatasync also what a server before us answered
 * without it, if the operator has only just switched it on.
 */
int nbdsvc_vol_flush(struct nbdsvc_vol *vol)
{
	if (vol->write_through && nbdsvc_durable_has_synced(&vol->durable))
		return 0;
	return nbdsvc_durable_sync(&vol->durable, vol->fd);
}

static int deallocate(struct nbdsvc_vol *vol, int mode, uint64_t length, uint64_t offset)
{
	while (fallocate(vol->fd, mode | FALLOC_FL_KEEP_SIZE, offset, length) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int unsupported(int err)
{
	return err == -EOPNOTSUPP || err == -ENODEV || err == -EINVAL || err == -ENOTTY;
}

static int write_zeros(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset)
{
	void *zeros = calloc(1, ZERO_PIECE);
	if (!zeros)
		return -ENOMEM;
	int err = 0;
	while (length && !err) {
		size_t piece = length < ZERO_PIECE ? length : ZERO_PIECE;
		err = put_all(vol, zeros, piece, offset);
		offset += piece;
		length -= piece;
	}
	free(zeros);
	return err;
}

/* Blocks are given back where the client allows it, kept (and only marked as zero) where it does not. */
int nbdsvc_vol_zero(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags)
{
	if (!nbdsvc_vol_has(vol, length, offset))
		return -ENOSPC;
	int err = -EOPNOTSUPP;
	if ((flags & NBDSVC_MAY_TRIM) && vol->can_punch)
		err = deallocate(vol, FALLOC_FL_PUNCH_HOLE, length, offset);
	if (unsupported(err))
		err = deallocate(vol, FALLOC_FL_ZERO_RANGE, length, offset);
	if (unsupported(err))
		err = flags & NBDSVC_FAST ? -EOPNOTSUPP : write_zeros(vol, length, offset);
	return settle(vol, err, flags);
}

int nbdsvc_vol_punch(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags)
{
	if (!nbdsvc_vol_has(vol, length, offset))
		return -EINVAL;
	int err = vol->can_punch ? deallocate(vol, FALLOC_FL_PUNCH_HOLE, length, offset) : -EOPNOTSUPP;
	return settle(vol, unsupported(err) ? -EOPNOTSUPP : err, flags);
}

/* A hint: a range that cannot be given back stays as it is. */
int nbdsvc_vol_trim(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags)
{
	int err = nbdsvc_vol_punch(vol, length, offset, flags);
	return err == -EOPNOTSUPP ? 0 : err;
}

int nbdsvc_vol_adopt(struct nbdsvc_vol *vol, struct nbdsvc_vol *other)
{
	while (dup3(other->fd, vol->fd, O_CLOEXEC) < 0) {
		if (errno != EINTR && errno != EBUSY)
			return -errno;
	}
	vol->is_block = other->is_block;
	vol->block_size = other->block_size;
	vol->can_punch = other->can_punch;
	vol->seen_size = 0;
	return 0;
}

int nbdsvc_vol_has_lost(struct nbdsvc_vol *vol)
{
	return nbdsvc_durable_has_lost(&vol->durable);
}

void nbdsvc_vol_set_lost(struct nbdsvc_vol *vol)
{
	nbdsvc_durable_set_lost(&vol->durable);
}

int nbdsvc_vol_cache(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset)
{
	return -posix_fadvise(vol->fd, offset, length, POSIX_FADV_WILLNEED);
}

int nbdsvc_vol_extent(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, uint64_t *ret_length, int *ret_hole)
{
	uint64_t end = offset + length;
	int hole = 0;
	/* Threads share the descriptor's position, but none reads it: only lseek's return value is used. */
	off_t next = lseek(vol->fd, offset, SEEK_DATA);
	if (next < 0) {
		hole = errno == ENXIO; /* no data behind this point; any other error: cannot tell, so it is data */
		next = end;
	} else if (next > (off_t)offset) {
		hole = 1;
	} else {
		next = lseek(vol->fd, offset, SEEK_HOLE);
		if (next <= (off_t)offset)
			next = end;
	}
	*ret_length = ((uint64_t)next < end ? (uint64_t)next : end) - offset;
	*ret_hole = hole;
	return 0;
}
