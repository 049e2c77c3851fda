#define _GNU_SOURCE
#include "sink/output.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int nbdsvc_output_init(struct nbdsvc_output *output, int fd, int direct_fd)
{
	struct nbdsvc_output made = { .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .direct_fd = -1 };
	if (made.fd < 0)
		return -errno;
	if (direct_fd >= 0 && (made.direct_fd = fcntl(direct_fd, F_DUPFD_CLOEXEC, 3)) < 0) {
		int err = -errno;
		close(made.fd);
		return err;
	}
	*output = made;
	return 0;
}

void nbdsvc_output_deinit(struct nbdsvc_output *output)
{
	close(output->fd);
	if (output->direct_fd >= 0)
		close(output->direct_fd);
}

int nbdsvc_output_write(const struct nbdsvc_output *output, const void *buffer, size_t length, uint64_t offset)
{
	const char *at = buffer;
	while (length) {
		int aligned = !(offset % NBDSVC_DIRECT_ALIGNMENT) && !((uintptr_t)at % NBDSVC_DIRECT_ALIGNMENT);
		int fd = output->fd;
		size_t piece = length;
		if (output->direct_fd >= 0 && aligned && length >= NBDSVC_DIRECT_ALIGNMENT) {
			fd = output->direct_fd;
			piece = length - length % NBDSVC_DIRECT_ALIGNMENT;
		}
		ssize_t put = pwrite(fd, at, piece, offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (put == 0)
			return -ENOSPC;
		at += put;
		offset += put;
		length -= put;
	}
	return 0;
}
