/*
 * The sink of a pipe, a socket or whatever else takes bytes in their order only: an upload, a FIFO, standard output.
 *
 * Workers gather a chunk each in their scratch, zeros included, for a pipe has no holes. `place` draws tickets in the order
 * of the chunks, and `store` writes when all smaller tickets have: not in `place`, which holds the lock of the whole copy.
 * Nobody blocks in a write, so that a copy can be cancelled while its reader sleeps: a pipe is opened once more for flags
 * of our own, because O_NONBLOCK on what we were given would be seen by everybody who shares it. A reader that is gone is
 * -EPIPE where the process ignores SIGPIPE, as Python does.
 */
#define _GNU_SOURCE
#include "sink/sink.h"
#include "sink/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The most of one write where the file cannot be written without blocking: a cancel waits for it. */
static const size_t WRITE_MOST = 1 << 20;
/* What a pipe may hold without privileges: sixteen times the default, so that both sides are woken less often. */
static const int PIPE_SIZE = 1 << 20;

struct stream {
	struct nbdsvc_sink sink;
	int fd;
	int wake; /* an eventfd: readable for good once the sink was interrupted */
	mode_t mode;
	size_t most; /* bytes that a write takes without blocking when poll said that there is room */
	uint64_t tickets; /* drawn; only `place` counts them, one thread at a time */
	pthread_mutex_t lock;
	pthread_cond_t advanced;
	uint64_t written; /* tickets whose bytes are out */
	int over; /* interrupted, or a write failed: later chunks are not written */
};

struct scratch {
	unsigned char *bytes;
	size_t used;
	uint64_t ticket;
};

static int stream_pwrite(struct nbdsvc_sink *sink, void *scratch_memory, const void *buffer, size_t length, uint64_t offset)
{
	(void)sink, (void)offset;
	struct scratch *scratch = scratch_memory;
	memcpy(scratch->bytes + scratch->used, buffer, length);
	scratch->used += length;
	return 0;
}

static int stream_zero(struct nbdsvc_sink *sink, void *scratch_memory, uint64_t length, uint64_t offset)
{
	(void)sink, (void)offset;
	struct scratch *scratch = scratch_memory;
	memset(scratch->bytes + scratch->used, 0, length);
	scratch->used += length;
	return 0;
}

static int stream_place(struct nbdsvc_sink *sink, void *scratch_memory)
{
	((struct scratch *)scratch_memory)->ticket = ((struct stream *)sink)->tickets++;
	return 0;
}

static int wait_for_turn(struct stream *self, uint64_t ticket)
{
	pthread_mutex_lock(&self->lock);
	while (self->written != ticket && !self->over)
		pthread_cond_wait(&self->advanced, &self->lock);
	int err = self->over ? -ECANCELED : 0;
	pthread_mutex_unlock(&self->lock);
	return err;
}

static void end_turn(struct stream *self, int err)
{
	pthread_mutex_lock(&self->lock);
	if (err)
		self->over = 1;
	else
		self->written++;
	pthread_cond_broadcast(&self->advanced);
	pthread_mutex_unlock(&self->lock);
}

/* Wait until there is room, or the reader is gone. */
static int wait_for_room(struct stream *self)
{
	struct pollfd waited[2] = { { .fd = self->fd, .events = POLLOUT }, { .fd = self->wake, .events = POLLIN } };
	if (poll(waited, 2, -1) < 0 && errno != EINTR)
		return -errno;
	return waited[1].revents ? -ECANCELED : 0;
}

static ssize_t put(struct stream *self, const void *at, size_t length)
{
	if (S_ISSOCK(self->mode))
		return send(self->fd, at, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(self->fd, at, length < self->most ? length : self->most);
}

static int write_all(struct stream *self, const unsigned char *at, size_t length)
{
	while (length) {
		int err = wait_for_room(self);
		if (err)
			return err;
		ssize_t out = put(self, at, length);
		if (out < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (out > 0) {
			at += out;
			length -= out;
		}
	}
	return 0;
}

static int stream_store(struct nbdsvc_sink *sink, void *scratch_memory)
{
	struct stream *self = (struct stream *)sink;
	struct scratch *scratch = scratch_memory;
	int err = wait_for_turn(self, scratch->ticket);
	if (!err) {
		err = write_all(self, scratch->bytes, scratch->used);
		end_turn(self, err);
	}
	scratch->used = 0;
	return err;
}

static void stream_interrupt(struct nbdsvc_sink *sink)
{
	struct stream *self = (struct stream *)sink;
	eventfd_write(self->wake, 1);
	end_turn(self, -ECANCELED);
}

static int stream_flush(struct nbdsvc_sink *sink)
{
	(void)sink;
	return 0; /* the reader's storage cannot be synced from here */
}

static int stream_finish(struct nbdsvc_sink *sink)
{
	struct stream *self = (struct stream *)sink;
	int is_storage = S_ISREG(self->mode) || S_ISBLK(self->mode);
	return is_storage && fsync(self->fd) < 0 ? -errno : 0;
}

static const char *stream_reason(struct nbdsvc_sink *sink, int error)
{
	(void)sink;
	return error == -EPIPE ? "its reader is gone" : NULL;
}

static int stream_scratch_init(struct nbdsvc_sink *sink, void *scratch_memory)
{
	(void)sink;
	struct scratch *scratch = scratch_memory;
	scratch->bytes = aligned_alloc(NBDSVC_DIRECT_ALIGNMENT, NBDSVC_CHUNK);
	return scratch->bytes ? 0 : -ENOMEM;
}

static void stream_scratch_deinit(struct nbdsvc_sink *sink, void *scratch_memory)
{
	(void)sink;
	free(((struct scratch *)scratch_memory)->bytes);
}

static void stream_destroy(struct nbdsvc_sink *sink)
{
	struct stream *self = (struct stream *)sink;
	close(self->fd);
	close(self->wake);
	pthread_cond_destroy(&self->advanced);
	pthread_mutex_destroy(&self->lock);
	free(self);
}

/* A description of our own where there can be one; on another program's pipe, writes that are known to fit. */
static int open_fd(struct stream *self, int fd)
{
	char path[32];
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	self->mode = st.st_mode;
	self->most = WRITE_MOST;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
	self->fd = S_ISFIFO(st.st_mode) ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	if (self->fd >= 0)
		return 0;
	if (S_ISFIFO(st.st_mode))
		self->most = PIPE_BUF;
	self->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return self->fd < 0 ? -errno : 0;
}

int nbdsvc_sink_stream_create(int fd, struct nbdsvc_sink **ret)
{
	struct stream *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	int err = open_fd(self, fd);
	if (!err && (self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
		err = -errno;
		close(self->fd);
	}
	if (err) {
		free(self);
		return err;
	}
	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->advanced, NULL);
	self->sink = (struct nbdsvc_sink){
		.grain = NBDSVC_DIRECT_ALIGNMENT,
		.scratch_size = sizeof(struct scratch),
		.scratch_init = stream_scratch_init,
		.scratch_deinit = stream_scratch_deinit,
		.pwrite = stream_pwrite,
		.zero = stream_zero,
		.place = stream_place,
		.store = stream_store,
		.flush = stream_flush,
		.finish = stream_finish,
		.reason = stream_reason,
		.interrupt = stream_interrupt,
		.destroy = stream_destroy,
	};
	*ret = &self->sink;
	return 0;
}
