/*
 * A mirror: what a served volume's clients change is changed at a second volume too, before they are answered, while a
 * thread copies the rest. Both are equal when it is synchronised, and stay so.
 *
 *   client --> source, then destination --> answer        ranges: one change of a byte at a time, and the copy is one
 *   thread --> region after region, source to destination, in ascending order
 *
 * The source is the truth: an error of the destination ends the mirror and no client's request. After an error of the
 * source, which its client gets as without a mirror, the range is copied again, whatever the failed request left there.
 */
#ifndef NBDSVC_MIRROR_H
#define NBDSVC_MIRROR_H

#include "serve/second.h"
#include "serve/vol.h"

enum {
	NBDSVC_MIRROR_COPYING = 0,
	NBDSVC_MIRROR_SYNCHRONISED = 1,
	NBDSVC_MIRROR_FAILED = 2, /* at the destination, or the source could not be read; error says which errno */
};

struct nbdsvc_mirror;

/* For `progress`. */
struct nbdsvc_mirror_progress {
	int state;
	int error; /* errno of a failed one */
	int while_reading; /* whether the source failed */
	uint64_t done; /* bytes that the copy has passed */
	uint64_t size; /* of the source when the mirror was made */
	uint64_t offset; /* where it failed */
};

/*
 * destination: the mirror's from now on, also after an error. is_zero: it reads as zeros now. rate: bytes
 * a second of the copy, 0 for no limit. Nothing is copied before `run`. -ENOSPC for a destination that is smaller than the
 * source, -ENOMEM, or the -errno of looking at their sizes.
 */
int nbdsvc_mirror_create(struct nbdsvc_vol *source, struct nbdsvc_second *destination, int is_zero, uint64_t rate,
			 struct nbdsvc_mirror **ret);
/* Starts the copy, once every request of a client goes through the mirror. The -errno of pthread_create. */
int nbdsvc_mirror_run(struct nbdsvc_mirror *mirror);
/*
 * Ends it: requests that come from now on are the source's alone, and the copy ends within a region. Then waits for those that
 * are at the destination, where they are interrupted if it is another host's: -ETIMEDOUT where that takes longer than `milliseconds`, and it is to be called again.
 */
int nbdsvc_mirror_end(struct nbdsvc_mirror *mirror, int64_t milliseconds);
/* For when no request goes through the mirror any more. */
void nbdsvc_mirror_destroy(struct nbdsvc_mirror *mirror);
struct nbdsvc_second *nbdsvc_mirror_destination(struct nbdsvc_mirror *mirror);

/* At any time, also while the copy waits: it is seen within 50 ms. */
void nbdsvc_mirror_set_rate(struct nbdsvc_mirror *mirror, uint64_t rate);
void nbdsvc_mirror_progress(struct nbdsvc_mirror *mirror, struct nbdsvc_mirror_progress *ret);

/*
 * For a synchronised mirror while it is decided, which may take long, whether the destination becomes the volume: whatever is
 * answered from `bind` on is at both places. A request that fails at the destination, and those behind it, wait for `decide`.
 * Then, if moved, the destination's errors are those of the requests; if not, it has failed, and they are answered as before.
 */
void nbdsvc_mirror_bind(struct nbdsvc_mirror *mirror);
void nbdsvc_mirror_decide(struct nbdsvc_mirror *mirror, int moved);

/* The requests of clients, to both. Errors: of the source, as of nbdsvc_vol_pwrite and so on. */
int nbdsvc_mirror_pwrite(struct nbdsvc_mirror *mirror, const void *buffer, size_t length, uint64_t offset, int flags);
int nbdsvc_mirror_zero(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int flags);
int nbdsvc_mirror_trim(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int flags);
int nbdsvc_mirror_flush(struct nbdsvc_mirror *mirror);

#endif
