/* What clients change, at both places. */
#include "serve/mirror_state.h"

#include <errno.h>

/* As enter, with the range held where it is 1. Where the mirror ends while the range is waited for, it is the source alone. */
static int begin(struct nbdsvc_mirror *mirror, struct nbdsvc_range *range, uint64_t length, uint64_t offset)
{
	int both = nbdsvc_mirror_enter(mirror);
	if (both > 0 && !nbdsvc_ranges_hold(&mirror->ranges, range, length, offset)) {
		nbdsvc_mirror_leave(mirror);
		return 0;
	}
	return both;
}

static int end(struct nbdsvc_mirror *mirror, struct nbdsvc_range *range, int err, int there)
{
	nbdsvc_ranges_release(&mirror->ranges, range);
	int answer = nbdsvc_mirror_answer(mirror, err, there, range->begin);
	nbdsvc_mirror_leave(mirror);
	return answer;
}

int nbdsvc_mirror_pwrite(struct nbdsvc_mirror *mirror, const void *buffer, size_t length, uint64_t offset, int flags)
{
	struct nbdsvc_range range;
	int both = begin(mirror, &range, length, offset);
	if (both <= 0)
		return both ? both : nbdsvc_vol_pwrite(mirror->source, buffer, length, offset, flags);
	int err = nbdsvc_vol_pwrite(mirror->source, buffer, length, offset, flags);
	int there = err ? 0 : nbdsvc_second_pwrite(mirror->destination, buffer, length, offset, flags);
	if (err)
		nbdsvc_mirror_heal(mirror, length, offset);
	return end(mirror, &range, err, there);
}

/* The destination zeros also where that is not fast: the source has, and its client is to get its answer. */
int nbdsvc_mirror_zero(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int flags)
{
	struct nbdsvc_range range;
	int both = begin(mirror, &range, length, offset);
	if (both <= 0)
		return both ? both : nbdsvc_vol_zero(mirror->source, length, offset, flags);
	int err = nbdsvc_vol_zero(mirror->source, length, offset, flags);
	int there = err ? 0 : nbdsvc_second_zero(mirror->destination, length, offset, flags & ~NBDSVC_FAST);
	if (err && err != -EOPNOTSUPP) /* with that one nothing was changed */
		nbdsvc_mirror_heal(mirror, length, offset);
	return end(mirror, &range, err, there);
}

/* A discarded range reads as zeros; where the source cannot discard it, nothing changes. */
int nbdsvc_mirror_trim(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int flags)
{
	struct nbdsvc_range range;
	int both = begin(mirror, &range, length, offset);
	if (both <= 0)
		return both ? both : nbdsvc_vol_trim(mirror->source, length, offset, flags);
	int err = nbdsvc_vol_punch(mirror->source, length, offset, flags);
	int there = err ? 0 : nbdsvc_second_zero(mirror->destination, length, offset, (flags | NBDSVC_MAY_TRIM) & ~NBDSVC_FAST);
	if (err && err != -EOPNOTSUPP && err != -EINVAL)
		nbdsvc_mirror_heal(mirror, length, offset);
	return end(mirror, &range, err == -EOPNOTSUPP ? 0 : err, there);
}

int nbdsvc_mirror_flush(struct nbdsvc_mirror *mirror)
{
	int both = nbdsvc_mirror_enter(mirror);
	if (both < 0)
		return both;
	int err = nbdsvc_vol_flush(mirror->source);
	if (both) {
		err = nbdsvc_mirror_answer(mirror, err, err ? 0 : nbdsvc_second_flush(mirror->destination), 0);
		nbdsvc_mirror_leave(mirror);
	}
	return err;
}
