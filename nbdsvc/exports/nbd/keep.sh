# Keeps the server of an export: sh keep.sh NBDKIT ARGUMENT... Started by launch.py, which has made the listening sockets.
#
# A server that a signal ended is started again at once, on the sockets that this shell holds: whoever connects meanwhile
# waits in their queue. nbdkit 1.32.4, 1.32.5 and 1.33.3 to 1.33.9 abort when a client hangs up with answers unread
# ("raw_send_socket: Assertion `sock >= 0' failed"; mended by its commit 9d82aa4f), and take all other connections along.
# A server that ended by itself has said why in its log, and would do so again. The server dies with this shell, by SIGKILL
# (plugin.py).
restarts=0
while :; do
    # LISTEN_PID has to be the server's own (sd_listen_fds(3)): the inner shell's, which becomes the server.
    sh -c 'LISTEN_PID=$$ exec "$0" "$@"' "$@"
    status=$?
    restarts=$((restarts + 1))
    # After so many the service has to look: it starts a new shell, as for every server that is away.
    if [ "$status" -lt 128 ] || [ "$restarts" -ge 100 ]; then exit "$status"; fi
    echo "the server was ended by signal $((status - 128)): started again"
    # Clients of the first wait, as of a volume that goes to another host; further ones must not take all of a processor.
    if [ "$restarts" -gt 1 ]; then sleep 0.05; fi
done
