/*
 * The volume of all writers of a server: their requests pass a gate, so that a mirror can come, go, and take the volume's
 * place while they are connected. Readers need no gate: they read what the volume has open.
 */
#ifndef NBDSVC_SERVED_H
#define NBDSVC_SERVED_H

#include "serve/mirror.h"
#include "serve/vol.h"

struct nbdsvc_served;

/* vol: its own from now on, also after -ENOMEM. */
int nbdsvc_served_create(struct nbdsvc_vol *vol, struct nbdsvc_served **ret);
void nbdsvc_served_destroy(struct nbdsvc_served *served);

/* On a server's worker thread, which they pin. Errors as of nbdsvc_vol_pread, nbdsvc_vol_pwrite and so on. */
int nbdsvc_served_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset);
int nbdsvc_served_pwrite(struct nbdsvc_served *served, const void *buffer, size_t length, uint64_t offset, int flags);
int nbdsvc_served_zero(struct nbdsvc_served *served, uint64_t length, uint64_t offset, int flags);
int nbdsvc_served_trim(struct nbdsvc_served *served, uint64_t length, uint64_t offset, int flags);
int nbdsvc_served_flush(struct nbdsvc_served *served);

/*
 * What follows is for one thread at a time; requests wait while it changes the way that they go, hold_ms milliseconds at most.
 *
 * Begins to mirror; the mirror's own descriptors and errors: nbdsvc_mirror_create. -ETIMEDOUT where requests that are under
 * way do not end in time; -EBUSY with a mirror.
 */
int nbdsvc_served_mirror(struct nbdsvc_served *served, struct nbdsvc_second *destination, int is_zero, uint64_t rate,
			 int64_t hold_ms);
/*
 * Ends the mirror without a switch. -ETIMEDOUT where requests, or the copy, do not come back from the destination in time: new
 * requests do not go there any more, and this is to be called again.
 */
int nbdsvc_served_unmirror(struct nbdsvc_served *served, int64_t hold_ms);
/* The mirror, or NULL. */
struct nbdsvc_mirror *nbdsvc_served_mirror_of(struct nbdsvc_served *served);
/*
 * Returns with both volumes equal, all of them on stable storage, and requests that go on: until `decide` both have whatever is
 * answered (nbdsvc_mirror_bind). -EAGAIN for a mirror that is not synchronised, -ETIMEDOUT where that takes longer than
 * hold_ms, -EFBIG where the source has grown, or the -errno of a sync; nothing has changed then.
 */
int nbdsvc_served_bind(struct nbdsvc_served *served, int64_t hold_ms);
/* After bind. moved: the destination is the volume from now on, and `switch` follows; else the source stays it. */
void nbdsvc_served_decide(struct nbdsvc_served *served, int moved);
/* Holds requests until resume. -ETIMEDOUT where those under way do not end in time, and requests go on. */
int nbdsvc_served_pause(struct nbdsvc_served *served, int64_t hold_ms);
/* After pause, for a destination of this host: it takes the place of the volume, and the mirror ends. The -errno of dup3: nothing has changed then. */
int nbdsvc_served_switch(struct nbdsvc_served *served);
/*
 * Holds requests until release, hold_ms milliseconds at most; returns when none is under way. -ETIMEDOUT where that takes longer,
 * and requests go on then. With or without a mirror; none begins, ends or switches meanwhile.
 */
int nbdsvc_served_hold(struct nbdsvc_served *served, int64_t hold_ms);
/* After hold: -ETIMEDOUT where requests have gone on before. */
int nbdsvc_served_release(struct nbdsvc_served *served);
/* After pause, with or without a switch. */
void nbdsvc_served_resume(struct nbdsvc_served *served);

#endif
