/*
 * A volume that is served: a file or block device with the operations of NBD. Thread-safe; knows no protocol.
 *
 * Fallible functions return 0 or -errno. Offsets and lengths are bytes. A request beyond the present
 * size fails with NBD's own errors: the server in front knows only the size that its client got when it connected.
 */
#ifndef NBDSVC_VOL_H
#define NBDSVC_VOL_H

#include <stddef.h>
#include <stdint.h>

struct nbdsvc_vol;

/*
 * WRITE_THROUGH: what changes the volume is answered when it is on stable storage. For clients that outlive this host: an NBD
 * client whose server was away sends again what was not answered, but never a write that was. If the host lost its page
 * cache meanwhile, a flush that comes again would be answered with success, though a write that it is to cover is gone.
 */
enum { NBDSVC_VOL_READ_ONLY = 1, NBDSVC_VOL_WRITE_THROUGH = 2 };
enum { NBDSVC_FUA = 1, NBDSVC_MAY_TRIM = 2, NBDSVC_FAST = 4 };

/* Opens a file or block device. -EINVAL for anything else, -ENOMEM, or the -errno of open and fstat (-ELOOP for a link). */
int nbdsvc_vol_create(const char *path, int flags, struct nbdsvc_vol **ret);
void nbdsvc_vol_destroy(struct nbdsvc_vol *vol);

/* The present size in bytes, which an extend changes; negative: the -errno of fstat or BLKGETSIZE64. */
int64_t nbdsvc_vol_size(struct nbdsvc_vol *vol);
/* 1 where the range lies in the volume. Beyond its end, what changes the volume fails and has changed nothing. */
int nbdsvc_vol_has(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset);
/* Bytes of a logical block: 512 for files. */
int nbdsvc_vol_block_size(struct nbdsvc_vol *vol);
/* 1 where blocks can be given back, so that zero and trim cost no writing. */
int nbdsvc_vol_can_punch(struct nbdsvc_vol *vol);
/* 1 for a rotating disk; 0 where the kernel does not report one. */
int nbdsvc_vol_is_rotational(struct nbdsvc_vol *vol);

/* Reads all of the range. -EINVAL beyond the size, -EIO where the file is shorter meanwhile, or the -errno of pread. */
int nbdsvc_vol_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset);
/* Writes all of the range; NBDSVC_FUA: onto stable storage. -ENOSPC beyond the size, or the -errno of pwrite and fdatasync. */
int nbdsvc_vol_pwrite(struct nbdsvc_vol *vol, const void *buffer, size_t length, uint64_t offset, int flags);
/* Zeros the range. -ENOSPC beyond the size; -EOPNOTSUPP with NBDSVC_FAST where it is no faster than writing; -ENOMEM, -errno. */
int nbdsvc_vol_zero(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags);
/* Discards the range where the storage can. -EINVAL beyond the size, or the -errno of fallocate and fdatasync. */
int nbdsvc_vol_trim(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags);
/* As trim, but -EOPNOTSUPP where nothing was changed. After 0 the range reads as zeros. */
int nbdsvc_vol_punch(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags);
/*
 * Syncs all answered writes to stable storage. The -errno of the first fdatasync that failed, for as long as the vol lives:
 * a lost write stays lost. A server of several clients shares one vol among them, so that each gets the error.
 */
int nbdsvc_vol_flush(struct nbdsvc_vol *vol);
/* 1 when a write was lost: every flush fails from then on. */
int nbdsvc_vol_has_lost(struct nbdsvc_vol *vol);
void nbdsvc_vol_set_lost(struct nbdsvc_vol *vol);
/* Reads the range into the page cache. The -errno of posix_fadvise. */
int nbdsvc_vol_cache(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset);
/* The extent that starts at offset: its length (cut at offset + length) and 1 for a hole, 0 for data. Returns 0 always. */
int nbdsvc_vol_extent(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, uint64_t *ret_length, int *ret_hole);

/*
 * Serve what `other` has open, instead of its own: one moment, for requests of other threads. `other` can be destroyed then.
 * Both have the same mode. The -errno of dup3.
 */
int nbdsvc_vol_adopt(struct nbdsvc_vol *vol, struct nbdsvc_vol *other);

/* Keep this thread's Python thread state alive until the thread ends (thread_state.c). */
void nbdsvc_pin_thread(void);
/* End this process with SIGKILL when its parent ends. Call it on the thread that was started first. */
void nbdsvc_die_with_parent(void);

#endif
