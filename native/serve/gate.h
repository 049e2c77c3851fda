/*
 * A gate that requests pass, and that can be closed for a moment: those inside end, and those outside wait.
 *
 * An open gate costs two atomic additions a request. A closed one opens by itself at its deadline, by the hand of whoever
 * waits: who closed it may be stuck on a disk.
 */
#ifndef NBDSVC_GATE_H
#define NBDSVC_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct nbdsvc_gate {
	_Atomic int64_t inside;
	atomic_int closed;
	pthread_mutex_t mutex; /* of what follows, and of changes to `closed` */
	pthread_cond_t changed;
	int64_t deadline; /* milliseconds of CLOCK_MONOTONIC, when it opens by itself; 0: never */
};

void nbdsvc_gate_init(struct nbdsvc_gate *gate);
void nbdsvc_gate_deinit(struct nbdsvc_gate *gate);

/* Waits while it is closed. */
void nbdsvc_gate_enter(struct nbdsvc_gate *gate);
void nbdsvc_gate_leave(struct nbdsvc_gate *gate);

/*
 * Closes it for `milliseconds` at most; returns 0 when no request is inside. -ETIMEDOUT, and open again, where that takes longer.
 * One thread at a time.
 */
int nbdsvc_gate_close(struct nbdsvc_gate *gate, int64_t milliseconds);
/* Keeps it closed until `open`. -ETIMEDOUT where it has opened by itself. */
int nbdsvc_gate_keep(struct nbdsvc_gate *gate);
void nbdsvc_gate_open(struct nbdsvc_gate *gate);
/* As open; -ETIMEDOUT where it has opened before, since it was closed. */
int nbdsvc_gate_end(struct nbdsvc_gate *gate);

#endif
