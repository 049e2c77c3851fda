/*
 * A volume that is served: a file or block device with the operations of NBD. Thread-safe; knows no protocol.
 *
 * Fallible functions return 0 or -errno. Offsets and lengths are bytes. What is not within the size of the moment is
 * refused here, by NBD's own errors: the server in front knows only the size that its client got when it connected.
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

int nbdsvc_vol_create(const char *path, int flags, struct nbdsvc_vol **ret);
void nbdsvc_vol_destroy(struct nbdsvc_vol *vol);

/* The size now: an extend is seen by the next client that asks. Negative: -errno. */
int64_t nbdsvc_vol_size(struct nbdsvc_vol *vol);
int nbdsvc_vol_block_size(struct nbdsvc_vol *vol);
/* 1 where blocks can be given back, so that zero and trim cost no writing. */
int nbdsvc_vol_can_punch(struct nbdsvc_vol *vol);
int nbdsvc_vol_is_rotational(struct nbdsvc_vol *vol);

int nbdsvc_vol_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset);
int nbdsvc_vol_pwrite(struct nbdsvc_vol *vol, const void *buffer, size_t length, uint64_t offset, int flags);
/* NBDSVC_FAST: -EOPNOTSUPP at once where it would be no faster than writing zeros. */
int nbdsvc_vol_zero(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags);
int nbdsvc_vol_trim(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, int flags);
/*
 * All that was written and answered is on stable storage, or an error; and after one error it is an error for as long as
 * the vol lives, because a lost write stays lost. Whoever serves one volume to several clients shares one vol among them.
 */
int nbdsvc_vol_flush(struct nbdsvc_vol *vol);
int nbdsvc_vol_has_lost(struct nbdsvc_vol *vol);
void nbdsvc_vol_set_lost(struct nbdsvc_vol *vol);
int nbdsvc_vol_cache(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset);
/* The extent that starts at offset: its length (cut at offset + length) and 1 for a hole, 0 for data. */
int nbdsvc_vol_extent(struct nbdsvc_vol *vol, uint64_t length, uint64_t offset, uint64_t *ret_length, int *ret_hole);

/* Keep this thread's Python thread state alive until the thread ends (thread_state.c). */
void nbdsvc_pin_thread(void);
/* pread and pwrite on a server's worker thread, which they pin. */
int nbdsvc_served_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset);
int nbdsvc_served_pwrite(struct nbdsvc_vol *vol, const void *buffer, size_t length, uint64_t offset, int flags);

#endif
