/*
 * Syncs what was written to an open file to stable storage, and keeps the first error that the kernel reports.
 *
 * Writes go to the page cache. One that fails later is reported by fdatasync, once for each open file description; its
 * page counts as written from then on, so the next fdatasync would succeed although the bytes are not there. A client
 * that took the second answer for the truth would lose them: so the first error stays.
 */
#ifndef NBDSVC_DURABLE_H
#define NBDSVC_DURABLE_H

#include <pthread.h>
#include <stdint.h>

struct nbdsvc_durable {
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t done;
	uint64_t requested; /* number of syncs */
	uint64_t synced; /* those of them that an fdatasync has covered */
	int syncing;
	int lost; /* errno of the first fdatasync that failed */
};

void nbdsvc_durable_init(struct nbdsvc_durable *durable);
void nbdsvc_durable_deinit(struct nbdsvc_durable *durable);

/* Syncs what was written to fd before the call. The -errno of the first fdatasync that ever failed. From any thread. */
int nbdsvc_durable_sync(struct nbdsvc_durable *durable, int fd);
/* Whether any sync has succeeded, and none has failed. */
int nbdsvc_durable_has_synced(struct nbdsvc_durable *durable);

/* 1 after the first fdatasync that failed. */
int nbdsvc_durable_has_lost(struct nbdsvc_durable *durable);
/* Record that an earlier server of this volume has lost writes: every sync fails with -EIO from now on. */
void nbdsvc_durable_set_lost(struct nbdsvc_durable *durable);

#endif
