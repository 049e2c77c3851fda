/* The calls of nbdkit's worker threads and of its first thread, and what changes the way of the former. */
#include "serve/served.h"
#include "serve/gate.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

struct nbdsvc_served {
	struct nbdsvc_vol *vol;
	struct nbdsvc_gate gate;
	struct nbdsvc_mirror *mirror; /* changed while the gate is closed and no request is inside */
};

int nbdsvc_served_create(struct nbdsvc_vol *vol, struct nbdsvc_served **ret)
{
	struct nbdsvc_served *served = calloc(1, sizeof(*served));
	if (!served) {
		nbdsvc_vol_destroy(vol);
		return -ENOMEM;
	}
	served->vol = vol;
	nbdsvc_gate_init(&served->gate);
	*ret = served;
	return 0;
}

void nbdsvc_served_destroy(struct nbdsvc_served *served)
{
	if (!served)
		return;
	nbdsvc_mirror_destroy(served->mirror);
	nbdsvc_vol_destroy(served->vol);
	nbdsvc_gate_deinit(&served->gate);
	free(served);
}

/* Pinning by a call of its own would hand the GIL over once more for every request. */
int nbdsvc_served_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset)
{
	nbdsvc_pin_thread();
	return nbdsvc_vol_pread(vol, buffer, length, offset);
}

int nbdsvc_served_pwrite(struct nbdsvc_served *served, const void *buffer, size_t length, uint64_t offset, int flags)
{
	nbdsvc_pin_thread();
	nbdsvc_gate_enter(&served->gate);
	int err = served->mirror ? nbdsvc_mirror_pwrite(served->mirror, buffer, length, offset, flags)
				 : nbdsvc_vol_pwrite(served->vol, buffer, length, offset, flags);
	nbdsvc_gate_leave(&served->gate);
	return err;
}

int nbdsvc_served_zero(struct nbdsvc_served *served, uint64_t length, uint64_t offset, int flags)
{
	nbdsvc_pin_thread();
	nbdsvc_gate_enter(&served->gate);
	int err = served->mirror ? nbdsvc_mirror_zero(served->mirror, length, offset, flags)
				 : nbdsvc_vol_zero(served->vol, length, offset, flags);
	nbdsvc_gate_leave(&served->gate);
	return err;
}

int nbdsvc_served_trim(struct nbdsvc_served *served, uint64_t length, uint64_t offset, int flags)
{
	nbdsvc_pin_thread();
	nbdsvc_gate_enter(&served->gate);
	int err = served->mirror ? nbdsvc_mirror_trim(served->mirror, length, offset, flags)
				 : nbdsvc_vol_trim(served->vol, length, offset, flags);
	nbdsvc_gate_leave(&served->gate);
	return err;
}

int nbdsvc_served_flush(struct nbdsvc_served *served)
{
	nbdsvc_pin_thread();
	nbdsvc_gate_enter(&served->gate);
	int err = served->mirror ? nbdsvc_mirror_flush(served->mirror) : nbdsvc_vol_flush(served->vol);
	nbdsvc_gate_leave(&served->gate);
	return err;
}

int nbdsvc_served_pause(struct nbdsvc_served *served, int64_t hold_ms)
{
	int err = nbdsvc_gate_close(&served->gate, hold_ms);
	return err ? err : nbdsvc_gate_keep(&served->gate);
}

int nbdsvc_served_mirror(struct nbdsvc_served *served, struct nbdsvc_second *destination, int is_zero, uint64_t rate,
			 int64_t hold_ms)
{
	struct nbdsvc_mirror *mirror;
	if (served->mirror) {
		nbdsvc_second_destroy(destination);
		return -EBUSY;
	}
	int err = nbdsvc_mirror_create(served->vol, destination, is_zero, rate, &mirror);
	if (err)
		return err;
	/* A write that goes by the old way would be missed by a copy that has passed it. */
	err = nbdsvc_served_pause(served, hold_ms);
	if (err) {
		nbdsvc_mirror_destroy(mirror);
		return err;
	}
	served->mirror = mirror;
	err = nbdsvc_mirror_run(mirror);
	if (err)
		served->mirror = NULL;
	nbdsvc_gate_open(&served->gate);
	if (err)
		nbdsvc_mirror_destroy(mirror);
	return err;
}

int nbdsvc_served_unmirror(struct nbdsvc_served *served, int64_t hold_ms)
{
	struct nbdsvc_mirror *mirror = served->mirror;
	if (!mirror)
		return 0;
	/* First without the gate: where the destination hangs, those at it are waited for, and no other request waits. */
	int err = nbdsvc_mirror_end(mirror, hold_ms);
	if (!err)
		err = nbdsvc_served_pause(served, hold_ms);
	if (err)
		return err;
	served->mirror = NULL;
	nbdsvc_gate_open(&served->gate);
	nbdsvc_mirror_destroy(mirror);
	return 0;
}

struct nbdsvc_mirror *nbdsvc_served_mirror_of(struct nbdsvc_served *served)
{
	return served->mirror;
}

static int is_synchronised(struct nbdsvc_mirror *mirror, int64_t size)
{
	struct nbdsvc_mirror_progress now;
	nbdsvc_mirror_progress(mirror, &now);
	if (now.state != NBDSVC_MIRROR_SYNCHRONISED)
		return -EAGAIN;
	return size > (int64_t)now.size ? -EFBIG : 0;
}

int nbdsvc_served_bind(struct nbdsvc_served *served, int64_t hold_ms)
{
	struct nbdsvc_mirror *mirror = served->mirror;
	int err = mirror ? is_synchronised(mirror, 0) : -EAGAIN;
	if (!err)
		err = nbdsvc_mirror_flush(mirror); /* while requests go on, so that the next one has little to do */
	if (!err)
		err = nbdsvc_gate_close(&served->gate, hold_ms);
	if (err)
		return err;
	err = nbdsvc_mirror_flush(mirror);
	if (!err) /* a flush that failed at the destination, too */
		err = is_synchronised(mirror, nbdsvc_vol_size(served->vol));
	if (!err)
		err = nbdsvc_gate_keep(&served->gate);
	if (!err)
		nbdsvc_mirror_bind(mirror);
	nbdsvc_gate_open(&served->gate);
	return err;
}

void nbdsvc_served_decide(struct nbdsvc_served *served, int moved)
{
	nbdsvc_mirror_decide(served->mirror, moved);
}

int nbdsvc_served_switch(struct nbdsvc_served *served)
{
	int err = nbdsvc_vol_adopt(served->vol, nbdsvc_second_vol(nbdsvc_mirror_destination(served->mirror)));
	if (err)
		return err;
	nbdsvc_mirror_destroy(served->mirror);
	served->mirror = NULL;
	return 0;
}

int nbdsvc_served_hold(struct nbdsvc_served *served, int64_t hold_ms)
{
	return nbdsvc_gate_close(&served->gate, hold_ms);
}

int nbdsvc_served_release(struct nbdsvc_served *served)
{
	return nbdsvc_gate_end(&served->gate);
}

void nbdsvc_served_resume(struct nbdsvc_served *served)
{
	nbdsvc_gate_open(&served->gate);
}

/* Of the thread that was started first, whose parent is the shell that keeps the server. nbdkit in the foreground asks for
 * SIGTERM, after which it answers ESHUTDOWN to its clients: an I/O error on their hosts. */
void nbdsvc_die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}
