#include "serve/durable.h"

#include <errno.h>
#include <unistd.h>

void nbdsvc_durable_init(struct nbdsvc_durable *durable)
{
	*durable = (struct nbdsvc_durable){ .requested = 0 };
	pthread_mutex_init(&durable->mutex, NULL);
	pthread_cond_init(&durable->done, NULL);
}

void nbdsvc_durable_deinit(struct nbdsvc_durable *durable)
{
	pthread_cond_destroy(&durable->done);
	pthread_mutex_destroy(&durable->mutex);
}

/*
 * One fdatasync at a time, for everybody who waits when it begins: two at once could share out the kernel's one answer,
 * the error to one and success to the other, whose write it may have been.
 */
int nbdsvc_durable_sync(struct nbdsvc_durable *durable, int fd)
{
	pthread_mutex_lock(&durable->mutex);
	uint64_t mine = ++durable->requested;
	while (durable->synced < mine && !durable->lost) {
		if (durable->syncing) {
			pthread_cond_wait(&durable->done, &durable->mutex);
			continue;
		}
		uint64_t covered = durable->requested;
		durable->syncing = 1;
		pthread_mutex_unlock(&durable->mutex);
		int failed = fdatasync(fd) < 0 ? errno : 0;
		pthread_mutex_lock(&durable->mutex);
		durable->syncing = 0;
		durable->synced = covered;
		durable->lost = durable->lost ? durable->lost : failed;
		pthread_cond_broadcast(&durable->done);
	}
	int err = -durable->lost;
	pthread_mutex_unlock(&durable->mutex);
	return err;
}

int nbdsvc_durable_has_synced(struct nbdsvc_durable *durable)
{
	pthread_mutex_lock(&durable->mutex);
	int synced = durable->synced && !durable->lost;
	pthread_mutex_unlock(&durable->mutex);
	return synced;
}

int nbdsvc_durable_has_lost(struct nbdsvc_durable *durable)
{
	pthread_mutex_lock(&durable->mutex);
	int lost = durable->lost != 0;
	pthread_mutex_unlock(&durable->mutex);
	return lost;
}

void nbdsvc_durable_set_lost(struct nbdsvc_durable *durable)
{
	pthread_mutex_lock(&durable->mutex);
	durable->lost = EIO;
	pthread_mutex_unlock(&durable->mutex);
}
