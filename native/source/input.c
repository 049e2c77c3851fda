#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

static int fd_pread(struct nbdsvc_input *input, void *buffer, size_t length, uint64_t offset)
{
	if (offset > input->size || length > input->size - offset)
		return -EINVAL;
	char *at = buffer;
	while (length) {
		ssize_t got = pread(input->fd, at, length, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ESPIPE; /* the file became shorter than it was when it was opened */
		at += got;
		offset += got;
		length -= got;
	}
	return 0;
}

static void fd_destroy(struct nbdsvc_input *input)
{
	close(input->fd);
	free(input);
}

static int size_of(int fd, uint64_t *ret)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, ret) < 0)
			return -errno;
	} else if (S_ISREG(st.st_mode)) {
		*ret = st.st_size;
	} else {
		return -EINVAL;
	}
	return 0;
}

int nbdsvc_input_fd_create(int fd, struct nbdsvc_input **ret)
{
	uint64_t size;
	int err = size_of(fd, &size);
	if (err < 0)
		return err;
	struct nbdsvc_input *input = calloc(1, sizeof(*input));
	if (!input)
		return -ENOMEM;
	input->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (input->fd < 0) {
		err = -errno;
		free(input);
		return err;
	}
	input->size = size;
	input->pread = fd_pread;
	input->destroy = fd_destroy;
	*ret = input;
	return 0;
}

struct callback_input {
	struct nbdsvc_input input;
	nbdsvc_pread_callback callback;
	void *context;
};

static int callback_pread(struct nbdsvc_input *input, void *buffer, size_t length, uint64_t offset)
{
	struct callback_input *self = (struct callback_input *)input;
	if (offset > input->size || length > input->size - offset)
		return -EINVAL;
	return length ? self->callback(self->context, buffer, length, offset) : 0;
}

static void callback_destroy(struct nbdsvc_input *input)
{
	free(input);
}

int nbdsvc_input_callback_create(nbdsvc_pread_callback callback, void *context, uint64_t size, struct nbdsvc_input **ret)
{
	struct callback_input *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	self->input.size = size;
	self->input.fd = -1;
	self->input.pread = callback_pread;
	self->input.destroy = callback_destroy;
	self->callback = callback;
	self->context = context;
	*ret = &self->input;
	return 0;
}

void nbdsvc_input_destroy(struct nbdsvc_input *input)
{
	if (input)
		input->destroy(input);
}
