#include "copy/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct header {
	char magic[8];
	uint64_t chunk;
	uint64_t size;
	unsigned char fingerprint[32];
	uint64_t zero;
};

static int put(int fd, const void *buffer, size_t length, off_t offset)
{
	ssize_t done = pwrite(fd, buffer, length, offset);
	if (done < 0)
		return -errno;
	return (size_t)done == length ? 0 : -ENOSPC;
}

int nbdsvc_journal_init(struct nbdsvc_journal *journal, int fd, uint64_t chunk, uint64_t size, const unsigned char *fingerprint)
{
	uint64_t chunks = (size + chunk - 1) / chunk;
	struct nbdsvc_journal made = { .fd = fd, .bytes = (chunks + 7) / 8 };
	made.bits = calloc(1, made.bytes + 1);
	made.snapshot = calloc(1, made.bytes + 1);
	if (!made.bits || !made.snapshot) {
		nbdsvc_journal_deinit(&made);
		return -ENOMEM;
	}
	if (fd >= 0) {
		struct header wanted = { .magic = "NBDSVCJ1", .chunk = chunk, .size = size }, found;
		memcpy(wanted.fingerprint, fingerprint, sizeof(wanted.fingerprint));
		int mine = pread(fd, &found, sizeof(found), 0) == sizeof(found) && !memcmp(&found, &wanted, sizeof(found)) &&
			   pread(fd, made.bits, made.bytes, sizeof(found)) == (ssize_t)made.bytes;
		if (!mine) {
			memset(made.bits, 0, made.bytes);
			int err = ftruncate(fd, 0) < 0 ? -errno : put(fd, made.bits, made.bytes, sizeof(wanted));
			if (!err)
				err = put(fd, &wanted, sizeof(wanted), 0);
			if (err) {
				nbdsvc_journal_deinit(&made);
				return err;
			}
		}
	}
	*journal = made;
	return 0;
}

void nbdsvc_journal_deinit(struct nbdsvc_journal *journal)
{
	free(journal->bits);
	free(journal->snapshot);
}

int nbdsvc_journal_has(const struct nbdsvc_journal *journal, uint64_t index)
{
	return journal->fd >= 0 && (__atomic_load_n(&journal->bits[index / 8], __ATOMIC_ACQUIRE) >> (index % 8) & 1);
}

void nbdsvc_journal_mark(struct nbdsvc_journal *journal, uint64_t index)
{
	__atomic_fetch_or(&journal->bits[index / 8], 1 << (index % 8), __ATOMIC_RELEASE);
}

int nbdsvc_journal_checkpoint(struct nbdsvc_journal *journal, struct nbdsvc_sink *sink, int *ret_is_sinks)
{
	if (journal->fd < 0)
		return 0;
	for (uint64_t i = 0; i < journal->bytes; i++)
		journal->snapshot[i] = __atomic_load_n(&journal->bits[i], __ATOMIC_ACQUIRE);
	int err = sink->flush(sink);
	*ret_is_sinks = err != 0;
	if (!err)
		err = put(journal->fd, journal->snapshot, journal->bytes, sizeof(struct header));
	return err ? err : fdatasync(journal->fd) < 0 ? -errno : 0;
}
