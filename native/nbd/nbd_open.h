/* Makes the connections to an NBD server's export, and ends them (nbd_connect.c). */
#ifndef NBDSVC_NBD_OPEN_H
#define NBDSVC_NBD_OPEN_H

#include "source/source.h"

struct nbdsvc_nbd_pool;

int nbdsvc_nbd_pool_create(const char *uri, int connections, struct nbdsvc_message *message, struct nbdsvc_nbd_pool **ret);
void nbdsvc_nbd_pool_destroy(struct nbdsvc_nbd_pool *pool);

#endif
