"""Waiting on many sockets and descriptors at once.

libzmq's zmq_poll asks every socket for its events, a system call each. Here each socket's events are remembered: they
are read again only when its descriptor is readable or somebody has operated on the socket since, for until then they
cannot have changed. What remains is one poll() over an array that lives as long as the poller.
"""

from cpython.object cimport PyObject
from libc.errno cimport EBUSY, EINTR, errno
from libc.limits cimport INT_MAX
from libc.stdlib cimport free, realloc

from zmqcy._context cimport FORKED
from zmqcy._library cimport NO_TYPE, deadline_after, error, interrupted, slice_of, to_flags, to_int
from zmqcy._socket cimport Socket
from zmqcy._system cimport POLLIN, POLLOUT, POLLPRI, nsec, poll, pollfd
from zmqcy.libzmq cimport ENOTSUP, ZMQ_POLLERR, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_POLLPRI

cdef struct Item:
    PyObject *socket          # NULL for a descriptor
    int wanted
    int events                # of the socket, when they were read last
    unsigned int operations   # of the socket, at that time
    bint known                # whether they were read at all


cdef class Poller:
    """Wait until one of several sockets, descriptors or objects with ``fileno()`` is ready.

    One thread at a time may use it.
    """

    cdef object __weakref__
    cdef list objects   # what is registered, in order
    cdef dict places    # by descriptor, or -1 - id of an object: its place in the arrays
    cdef pollfd *fds
    cdef Item *items
    cdef int count
    cdef int room
    cdef bint busy

    def __cinit__(self):
        self.objects = []
        self.places = {}

    def __dealloc__(self):
        free(self.fds)
        free(self.items)

    cdef int enter(self, str call) except -1:
        if self.busy:
            raise error(EBUSY, call, NO_TYPE, None, "another thread is in a call on this poller")
        return 0

    cdef int place_of(self, object socket, str call) except -1:
        place = self.places.get(key_of(socket))
        if place is None:
            raise KeyError(f"{call}: {socket!r} is not registered")
        return place

    def register(self, socket, flags=3):
        """Add a socket or descriptor, or change what it is polled for.

        Parameters
        ----------
        socket : Socket, int or object with fileno()
            What to poll.
        flags : int, default POLLIN | POLLOUT
            `POLLIN`, `POLLOUT`, `POLLERR` and `POLLPRI` (for descriptors); 0 takes it out.

        Raises
        ------
        TypeError
            It cannot be polled.
        ValueError
            The descriptor is negative.
        ZMQError
            ENOTSOCK: the socket is closed.
        """
        cdef int wanted = to_flags(flags, "register")
        cdef int fd
        self.enter("register")
        key = key_of(socket)
        if key in self.places:
            if wanted:
                return self.modify(socket, wanted)
            return self.unregister(socket)
        if not wanted:
            return
        if isinstance(socket, Socket):
            (<Socket> socket).current_events("register")
            fd = (<Socket> socket).record.fd
            if fd < 0:
                raise error(ENOTSUP, "register", (<Socket> socket).record.type)
        else:
            fd = to_descriptor(socket)
        if self.count == self.room:
            self.grow()
        self.items[self.count].socket = <PyObject *> socket if isinstance(socket, Socket) else NULL
        self.items[self.count].wanted = wanted
        self.items[self.count].known = False
        self.fds[self.count].fd = fd
        self.fds[self.count].events = POLLIN if isinstance(socket, Socket) else to_poll(wanted)
        self.objects.append(socket)
        self.places[key] = self.count
        self.count += 1

    def modify(self, socket, flags=3):
        """Change what a registered socket or descriptor is polled for.

        Parameters
        ----------
        socket : Socket, int or object with fileno()
            As it was registered.
        flags : int, default POLLIN | POLLOUT
            `POLLIN`, `POLLOUT`, `POLLERR`, `POLLPRI`.

        Raises
        ------
        KeyError
            It is not registered.
        """
        cdef int wanted = to_flags(flags, "modify")
        self.enter("modify")
        cdef int place = self.place_of(socket, "modify")
        self.items[place].wanted = wanted
        if self.items[place].socket is NULL:
            self.fds[place].events = to_poll(wanted)

    def unregister(self, socket):
        """Take a socket or descriptor out.

        Parameters
        ----------
        socket : Socket, int or object with fileno()
            As it was registered.

        Raises
        ------
        KeyError
            It is not registered.
        """
        self.enter("unregister")
        cdef int place = self.place_of(socket, "unregister")
        cdef int i
        del self.places[key_of(socket)]
        del self.objects[place]
        self.count -= 1
        for i in range(place, self.count):
            self.fds[i] = self.fds[i + 1]
            self.items[i] = self.items[i + 1]
            self.places[key_of(self.objects[i])] = i

    cdef int grow(self) except -1:
        cdef int room = 2 * self.room or 8
        cdef void *fds = realloc(self.fds, room * sizeof(pollfd))
        if fds is not NULL:
            self.fds = <pollfd *> fds
        cdef void *items = realloc(self.items, room * sizeof(Item))
        if items is not NULL:
            self.items = <Item *> items
        if fds is NULL or items is NULL:
            raise MemoryError("register")
        self.room = room
        return 0

    def poll(self, timeout=None):
        """Wait until one of them is ready.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.

        Returns
        -------
        list of tuple
            The ready ones only, as registered, each with its events; empty when the time is up.

        Raises
        ------
        ZMQError
            ENOTSOCK: a socket was closed since it was registered.
        ContextTerminated
            The context of a socket has ended.
        SocketInUse
            Another thread is in a call on one of the sockets, or on the poller.
        """
        cdef nsec deadline = deadline_after(timeout, "poll")
        cdef int number, left = 0
        cdef list ready
        self.enter("poll")
        while True:
            # The first look does not wait: a socket may be ready though its descriptor is not.
            if left == 0:
                number = errno if poll(self.fds, self.count, 0) < 0 else 0
            else:
                self.busy = True
                with nogil:
                    number = errno if poll(self.fds, self.count, left) < 0 else 0
                self.busy = False
            if number and not interrupted(number):
                raise error(number, "poll", NO_TYPE)
            ready = self.collect(number == 0)
            left = slice_of(deadline)
            if ready or left == 0:
                return ready
            interrupted(EINTR)

    cdef list collect(self, bint fresh):
        """List what is ready, reading the events of those sockets alone where they may have changed."""
        cdef list ready = []
        cdef Socket socket
        cdef int i, events
        cdef short happened
        # Any Python code may run in here, a signal handler or a finalizer, and change the arrays: hold no pointer.
        for i in range(self.count):
            if i >= self.count:
                break
            happened = self.fds[i].revents if fresh else 0
            if self.items[i].socket is NULL:
                events = from_poll(happened, self.items[i].wanted) if happened else 0
            else:
                if happened or stale(&self.items[i]):
                    socket = <Socket> self.items[i].socket
                    events = socket.current_events("poll")
                    if i >= self.count or self.items[i].socket is not <PyObject *> socket:
                        return self.collect(False)  # what is readable still is at the next look
                    self.items[i].events = events
                    self.items[i].operations = socket.operations
                    self.items[i].known = not socket.shared
                events = self.items[i].events & self.items[i].wanted
            if events:
                ready.append((self.objects[i], events))
        return ready

    @property
    def sockets(self):
        """list of tuple: what is registered, each with its flags."""
        return [(socket, self.items[i].wanted) for i, socket in enumerate(self.objects)]

    def __len__(self):
        return self.count

    def __contains__(self, socket):
        return key_of(socket) in self.places


cdef inline bint stale(Item *item) noexcept:
    cdef Socket socket = <Socket> item.socket
    return not item.known or item.operations != socket.operations or socket.record.state & FORKED != 0


cdef object key_of(object socket):
    return socket if isinstance(socket, int) else -1 - <object> (<size_t> <PyObject *> socket)


cdef int to_descriptor(object socket) except -1:
    if not isinstance(socket, int):
        if not hasattr(socket, "fileno"):
            raise TypeError(f"register: {socket!r:.80} is no socket, no descriptor, and has no fileno()")
        socket = socket.fileno()
    if isinstance(socket, int) and socket < 0:
        raise ValueError(f"register: a descriptor is not negative: {socket}")
    return to_int(socket, "register", "the descriptor", 0, INT_MAX)


cdef short to_poll(int wanted) noexcept:
    cdef short events = 0
    if wanted & ZMQ_POLLIN:
        events |= POLLIN
    if wanted & ZMQ_POLLOUT:
        events |= POLLOUT
    if wanted & ZMQ_POLLPRI:
        events |= POLLPRI
    return events


cdef int from_poll(short happened, int wanted) noexcept:
    cdef int events = 0
    if happened & POLLIN:
        events |= ZMQ_POLLIN
    if happened & POLLOUT:
        events |= ZMQ_POLLOUT
    if happened & POLLPRI and wanted & ZMQ_POLLPRI:
        events |= ZMQ_POLLPRI
    if happened & ~(POLLIN | POLLOUT | POLLPRI):  # an error, a hang-up, a closed descriptor: nobody has to ask for it
        events |= ZMQ_POLLERR
    return events


def select(rlist, wlist, xlist, timeout=None):
    """Wait as select.select does, on sockets of ZeroMQ, descriptors and objects with ``fileno()``.

    Parameters
    ----------
    rlist, wlist, xlist : sequence
        What to wait for: to receive, to send, an error.
    timeout : float, optional
        Seconds (not milliseconds: as select.select has it); by default for ever.

    Returns
    -------
    tuple of three lists
        Those that are ready.
    """
    lists = []
    for name, sockets in (("rlist", rlist), ("wlist", wlist), ("xlist", xlist)):
        if isinstance(sockets, Socket):  # to iterate it would be to receive
            raise TypeError(f"select: {name} must be a sequence of sockets, not one: {sockets!r}")
        lists.append(list(sockets))
    if isinstance(timeout, (int, float)) and not timeout < 0:
        timeout = timeout * 1000.0
    elif timeout is not None and not hasattr(timeout, "total_seconds"):
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"select: a time is a number of seconds, a timedelta or None, not {timeout!r:.80}")
        raise ValueError(f"select: a time is not negative: {timeout}")
    poller = Poller()
    wanted = {}
    for sockets, flag in zip(lists, (ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_POLLERR)):
        for socket in sockets:
            key = key_of(socket)
            wanted[key] = wanted.get(key, 0) | flag
            poller.register(socket, wanted[key])
    ready = {key_of(socket): events for socket, events in poller.poll(timeout)}
    # What has ended, or failed, can be read and written without waiting, as select.select has it.
    return tuple(
        [socket for socket in sockets if ready.get(key_of(socket), 0) & flags]
        for sockets, flags in zip(lists, (ZMQ_POLLIN | ZMQ_POLLERR, ZMQ_POLLOUT | ZMQ_POLLERR, ZMQ_POLLERR)))
