#include "serve/client.h"
#include "serve/turnstile.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

struct nbdsvc_client {
	struct nbdsvc_limits *limits;
	struct nbdsvc_vol *vol;
	struct nbdsvc_served *served;
	uint64_t user; /* among those of all servers of the volume */
	/* Where its requests queue, so that only the first of them watches the limits, however many there are. */
	struct nbdsvc_turnstile queues[NBDSVC_THROTTLE_DIRECTIONS];
};

int nbdsvc_client_create(struct nbdsvc_limits *limits, struct nbdsvc_vol *vol, struct nbdsvc_served *served,
			 struct nbdsvc_client **ret)
{
	struct nbdsvc_client *client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	*client = (struct nbdsvc_client){ .limits = limits, .vol = vol, .served = served };
	while (!client->user) {
		if (getrandom(&client->user, sizeof(client->user), 0) < 0)
			client->user = (uintptr_t)client;
	}
	for (int direction = 0; direction < NBDSVC_THROTTLE_DIRECTIONS; direction++)
		nbdsvc_turnstile_init(&client->queues[direction]);
	*ret = client;
	return 0;
}

void nbdsvc_client_destroy(struct nbdsvc_client *client)
{
	if (!client)
		return;
	for (int direction = 0; direction < NBDSVC_THROTTLE_DIRECTIONS; direction++)
		nbdsvc_turnstile_deinit(&client->queues[direction]);
	free(client);
}

static int queue_up(struct nbdsvc_client *client, int direction, uint64_t bytes)
{
	struct nbdsvc_turnstile *queue = &client->queues[direction];
	nbdsvc_turnstile_enter(queue);
	int err = nbdsvc_limits_wait(client->limits, client->user, direction, bytes, queue);
	nbdsvc_turnstile_leave(queue);
	return err;
}

/* Two loads without limits. */
static int wait_for(struct nbdsvc_client *client, int direction, uint64_t bytes)
{
	return nbdsvc_limits_are_there(client->limits) ? queue_up(client, direction, bytes) : 0;
}

int nbdsvc_client_pread(struct nbdsvc_client *client, void *buffer, size_t length, uint64_t offset)
{
	int err = wait_for(client, NBDSVC_THROTTLE_READ, length);
	return err ? err : nbdsvc_served_pread(client->vol, buffer, length, offset);
}

int nbdsvc_client_pwrite(struct nbdsvc_client *client, const void *buffer, size_t length, uint64_t offset, int flags)
{
	int err = wait_for(client, NBDSVC_THROTTLE_WRITE, length);
	return err ? err : nbdsvc_served_pwrite(client->served, buffer, length, offset, flags);
}

int nbdsvc_client_zero(struct nbdsvc_client *client, uint64_t length, uint64_t offset, int flags)
{
	int err = wait_for(client, NBDSVC_THROTTLE_WRITE, length);
	return err ? err : nbdsvc_served_zero(client->served, length, offset, flags);
}

int nbdsvc_client_trim(struct nbdsvc_client *client, uint64_t length, uint64_t offset, int flags)
{
	int err = wait_for(client, NBDSVC_THROTTLE_WRITE, 0);
	return err ? err : nbdsvc_served_trim(client->served, length, offset, flags);
}

int nbdsvc_client_cache(struct nbdsvc_client *client, uint64_t length, uint64_t offset)
{
	int err = wait_for(client, NBDSVC_THROTTLE_READ, length);
	return err ? err : nbdsvc_vol_cache(client->vol, length, offset);
}
