"""Wait on many sockets and file descriptors at once.

libzmq's zmq_poll reads the events of every socket, with a system call for each. A `Poller` remembers the events of a
socket until its file descriptor is readable or a call uses the socket: until then the events cannot change. The first
call on a socket whose events are remembered (WATCHED) marks the socket as unread in its pollers. A poll reads only the
events of unread sockets. On Linux many sockets share an epoll set, which is one entry in the array of poll(). So the
cost of a poll depends on the number of ready sockets, of sockets used since the last poll, and of other file
descriptors, not on the number of registered sockets.

A poll spins before it sleeps, as a blocking call does. The time is the largest `spin` of the sockets whose events it
has read and which have sent since they last received: such a socket may receive an answer soon.
"""

cimport cython
from cython cimport critical_section
from cpython.dict cimport PyDict_Values
from cpython.object cimport PyObject
from libc.errno cimport EBUSY, EEXIST, EINTR, ENOSYS, EPERM, errno
from libc.limits cimport INT_MAX
from libc.stdlib cimport free, realloc

from zmqcy._handle cimport Link, Watch, close_signaler, insert, lock_lists, remove, unlock_lists
from zmqcy._library cimport (
    NO_TYPE, deadline_after, error, interrupted, remaining, slice_of, to_flags, to_int)
from zmqcy._base cimport NativeSocket, open_signaler
from zmqcy._system cimport (
    POLLIN, POLLOUT, POLLPRI, close_descriptor, drain, epoll_add, epoll_event, epoll_look, epoll_open, epoll_owner,
    epoll_remove, nsec, pollfd)
from zmqcy._core cimport sleep_on
from zmqcy._message cimport forks
from zmqcy._options cimport lock_of
from zmqcy.libzmq cimport ENOTSUP, ZMQ_POLLERR, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_POLLPRI

cdef enum:
    FEW = 4  # max sockets in the array of poll(): for more, an epoll set is worth its file descriptor
    NOWHERE = -1


@cython.internal
@cython.final
cdef class Doubts:
    """The items whose events must be read. A separate object, so that it outlives the items in its lists."""

    cdef Link *unread     # items that are new or whose sockets were used
    cdef Link *uncertain  # items that are read in each poll, because other code may use the socket
    cdef object told      # called when a socket is used, while a task waits in an event loop
    cdef bint waits       # whether `told` is set


@cython.internal
@cython.final
@cython.no_gc_clear
cdef class Item:
    """A registered socket or file descriptor.

    It keeps the socket and its lists alive until it is unlinked. The garbage collector must not clear it; it breaks
    cycles at the containers of the poller.
    """

    cdef object what
    cdef Doubts doubts
    cdef Watch watch
    cdef bint is_socket
    cdef bint registered
    cdef int wanted
    cdef int events   # as they were read last
    cdef int place    # its index in the array of poll(), or NOWHERE
    cdef long long serial

    def __cinit__(self, what, Doubts doubts, int wanted, long long serial):
        self.what = what
        self.is_socket = isinstance(what, NativeSocket)
        self.doubts = doubts
        self.wanted = wanted
        self.serial = serial
        self.place = NOWHERE
        self.watch.of_socket.owner = &self.watch
        self.watch.of_poller.owner = <void *> self
        self.watch.unread = &doubts.unread
        self.watch.tell = tell
        self.watch.listener = <PyObject *> doubts
        self.watch.wanted = &doubts.waits
        self.watch.epoll = NOWHERE

    def __dealloc__(self):
        self.unlink()

    cdef void unlink(self) noexcept:
        lock_lists()
        remove(&self.watch.of_socket)
        remove(&self.watch.of_poller)
        if self.is_socket:
            close_signaler(&self.watch.signaler, (<NativeSocket> self.what).handle)
        unlock_lists()


cdef void tell(object listener) noexcept:
    """Call the function of a waiting task: the events of a socket may change now."""
    cdef Doubts doubts = listener
    with critical_section(doubts):
        told = doubts.told
    if told is not None:
        told()


#: import zmqcy.socket
#: _Pollable: TypeAlias = zmqcy.socket.BaseSocket | int | HasFileno
cdef class Poller:
    """Wait until one of several sockets, file descriptors or objects with ``fileno()`` is ready.

    One thread at a time may use a poller. Its cost does not grow with the number of idle sockets.

    Examples
    --------
    >>> poller = zmqcy.Poller()
    >>> poller.register(pull, zmqcy.POLLIN)
    >>> push.send(b"message")
    >>> poller.poll(1000) == [(pull, zmqcy.POLLIN)]  # milliseconds
    True
    """

    cdef object __weakref__
    cdef dict items          # by file descriptor, or -1 - id of an object; in order of registration
    cdef set ready           # items that are ready according to the last read
    cdef Doubts doubts
    cdef list slots          # the items in the array of poll(), by index
    cdef pollfd *fds         # this array; index 0 is for the epoll set
    cdef int room
    cdef int count
    cdef int sockets_there   # sockets in the array
    cdef int most_sockets    # max sockets in the array, unless the epoll set refuses them
    cdef int epoll           # the epoll set, or -1
    cdef int urgent          # while a task waits: an epoll set for events that event loops do not support; or -1
    cdef epoll_event *happened
    cdef int happened_room
    cdef long long serial
    cdef bint busy
    cdef bint used           # polled before: an epoll set is useful only then
    cdef nsec spin           # the largest of the sockets whose events this poll has read
    cdef bint eager          # the last waits were short
    cdef int forks           # the number of forks when the epoll set was made

    def __cinit__(self):
        self.items = {}
        self.ready = set()
        self.doubts = Doubts()
        self.slots = [None]
        self.epoll = self.urgent = NOWHERE
        self.most_sockets = FEW
        self.eager = True
        self.forks = forks
        self.grow()
        self.count = 1
        self.fds[0].fd = NOWHERE
        self.fds[0].events = POLLIN

    def __dealloc__(self):
        if self.epoll >= 0:
            close_descriptor(self.epoll)
        self.end_urgency()
        free(self.fds)
        free(self.happened)

    cdef int enter(self, str call) except -1:
        if self.forks != forks:
            self.begin_anew()
        if self.busy:
            raise error(
                EBUSY, call, NO_TYPE, None, "another thread is in a call on this poller; use one poller per thread")
        return 0

    cdef int begin_anew(self) except -1:
        """Reset the poller in a forked child: the epoll set, the waiting thread and the remembered events."""
        cdef Item item
        self.forks = forks
        self.busy = self.doubts.waits = False
        self.doubts.told = None
        self.end_urgency()
        if self.epoll >= 0:
            close_descriptor(self.epoll)
            self.epoll = self.fds[0].fd = NOWHERE
        for item in PyDict_Values(self.items):
            if item.is_socket:
                item.watch.epoll = NOWHERE
                move(item, item.watch.unread)
        return 0

    cdef Item item_of(self, object socket, str call):
        item = self.items.get(key_of(socket))
        if item is None:
            raise KeyError(f"{call}: {socket!r} is not registered; register it first")
        return item

    @critical_section
    def register(self, socket: _Pollable, flags: int = 3) -> None:
        """Add a socket or file descriptor, or change its events.

        Parameters
        ----------
        socket : Socket, int or object with fileno()
            The socket or file descriptor.
        flags : int, default POLLIN | POLLOUT
            The events to wait for: `POLLIN`, `POLLOUT`, and, for file descriptors, `POLLERR` and `POLLPRI`. 0 removes
            the socket.

        Raises
        ------
        TypeError
            `socket` cannot be polled.
        ValueError
            The file descriptor is negative.
        ZMQError
            ENOTSOCK: the socket is closed.
        """
        cdef int wanted = to_flags(flags, "register")
        cdef int fd = NOWHERE
        cdef Item item
        self.enter("register")
        key = key_of(socket)
        if key in self.items:
            if wanted:
                return self.modify(socket, wanted)
            return self.unregister(socket)
        if not wanted:
            return
        if isinstance(socket, NativeSocket):
            with critical_section(lock_of(socket)):
                (<NativeSocket> socket).current_events("register")
        else:
            fd = to_descriptor(socket)
        self.enter("register")  # a signal handler or fileno() may have run meanwhile
        if key in self.items:
            return self.modify(socket, wanted)
        self.serial += 1
        item = Item(socket, self.doubts, wanted, self.serial)
        item.registered = True
        if item.is_socket:
            if (<NativeSocket> socket).handle.fd < 0:
                open_signaler(&item.watch.signaler, (<NativeSocket> socket).handle, "register")
            lock_lists()
            insert(&item.watch.of_socket, &(<NativeSocket> socket).handle.watches)
            unlock_lists()
            move(item, item.watch.unread)
        else:
            self.place(item, fd, to_poll(wanted))
        self.items[key] = item

    @critical_section
    def modify(self, socket: _Pollable, flags: int = 3) -> None:
        """Change the events of a registered socket or file descriptor.

        Parameters
        ----------
        socket : Socket, int or object with fileno()
            The registered object.
        flags : int, default POLLIN | POLLOUT
            The events to wait for, as for `register`.

        Raises
        ------
        KeyError
            `socket` is not registered.
        """
        cdef int wanted = to_flags(flags, "modify")
        self.enter("modify")
        cdef Item item = self.item_of(socket, "modify")
        item.wanted = wanted
        if item.is_socket:
            self.judge(item, item.events & wanted)
        else:
            self.fds[item.place].events = to_poll(wanted)

    @critical_section
    def unregister(self, socket: _Pollable) -> None:
        """Remove a socket or file descriptor.

        Parameters
        ----------
        socket : Socket, int or object with fileno()
            The registered object.

        Raises
        ------
        KeyError
            `socket` is not registered.
        """
        self.enter("unregister")
        cdef Item item = self.item_of(socket, "unregister")
        del self.items[key_of(socket)]
        item.registered = False
        self.ready.discard(item)
        item.unlink()
        if item.watch.epoll >= 0:
            epoll_remove(item.watch.epoll, (<NativeSocket> item.what).handle.fd)
            item.watch.epoll = NOWHERE
        if item.place >= 0:
            self.displace(item)

    cdef int grow(self) except -1:
        cdef int room = 2 * self.room or 8
        cdef void *fds = realloc(self.fds, room * sizeof(pollfd))
        if fds is NULL:
            raise MemoryError("Poller")
        self.fds = <pollfd *> fds
        self.room = room
        return 0

    cdef int place(self, Item item, int fd, short events) except -1:
        """Append an item to the array of poll()."""
        if self.count == self.room:
            self.grow()
        self.slots.append(item)
        self.fds[self.count].fd = fd
        self.fds[self.count].events = events
        self.fds[self.count].revents = 0
        item.place = self.count
        self.count += 1
        self.sockets_there += item.is_socket
        return 0

    cdef int displace(self, Item item) except -1:
        """Remove an item from the array, and move the last item to its index."""
        cdef Item last = self.slots.pop()
        self.count -= 1
        if last is not item:
            self.slots[item.place] = last
            self.fds[item.place] = self.fds[self.count]
            last.place = item.place
        item.place = NOWHERE
        self.sockets_there -= item.is_socket
        return 0

    cdef int gather(self) except -1:
        """Move the sockets from the array into the epoll set.

        Sockets that the epoll set refuses stay in the array. So do shared sockets: other code may close their file
        descriptors.
        """
        cdef Item item
        cdef void *happened
        cdef int i = 1
        if self.happened_room < len(self.items):
            happened = realloc(self.happened, 2 * len(self.items) * sizeof(epoll_event))
            if happened is NULL:
                raise MemoryError("poll")
            self.happened = <epoll_event *> happened
            self.happened_room = 2 * len(self.items)
        if self.epoll < 0:
            self.epoll = self.fds[0].fd = epoll_open()
        while i < self.count and self.epoll >= 0:
            item = self.slots[i]
            if (
                item.is_socket and not (<NativeSocket> item.what).handle.elsewhere
                and epoll_add(self.epoll, self.fds[i].fd, POLLIN, <void *> item) == 0
            ):
                item.watch.epoll = self.epoll
                self.displace(item)
            else:
                i += 1
        self.most_sockets = max(FEW, 2 * self.sockets_there)
        return 0

    @critical_section
    def poll(self, timeout: _Time = None) -> list[tuple[_Pollable, int]]:
        """Block until at least one registered object is ready. Releases the GIL.

        Signal handlers run while it blocks, and the call continues with the remaining time.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Max milliseconds to wait. By default, or with -1, wait indefinitely.

        Returns
        -------
        list of tuple
            Each ready object with its events, in the order of registration. Empty if the call timed out.

        Raises
        ------
        ZMQError
            ENOTSOCK: a registered socket was closed.
        ContextTerminated
            The context of a socket has ended.
        SocketInUse
            Another thread is in a call on one of the sockets, or on the poller.
        """
        cdef nsec deadline = deadline_after(timeout, "poll")
        cdef int happened
        cdef list ready
        self.enter("poll")
        self.spin = 0
        # A signal handler or finalizer may run wherever events are read, and between two rounds. It may change this
        # poller, call poll, and fork.
        while True:
            self.read()
            if self.used and self.sockets_there > self.most_sockets:
                self.gather()
            self.used = True
            happened = self.wait(0 if self.ready else slice_of(deadline))
            if happened >= 0:
                self.note(happened)
                self.read()
                if self.ready:
                    ready = self.report()
                    if ready:
                        return ready
            if remaining(deadline) == 0:
                return []
            interrupted(EINTR)
            self.enter("poll")

    @critical_section
    def _begin_wait(self, function):
        """Begin to wait in an event loop. Until `_end_wait`, call a function whenever a registered socket is used.

        Return the sockets that must be polled one by one, and file descriptors, each with POLLIN, POLLOUT or both. A
        file descriptor can represent several registered objects. It is readable when one of them may have changed.
        """
        cdef Item item
        cdef bint news
        cdef list sockets = [], descriptors = []
        self.enter("poll")
        if self.doubts.told is not None:
            raise error(EBUSY, "poll", NO_TYPE, None, "another task is in a call on this poller; use one per task")
        self.read()
        if self.sockets_there:
            self.gather()
        try:
            for item in self.slots[1:]:
                # For a thread-safe socket, wait on the poller's own file descriptor.
                if item.watch.signaler.poller is not NULL:
                    descriptors.append((item.watch.signaler.fd, ZMQ_POLLIN))
                elif item.is_socket:
                    sockets.append((item.what, item.wanted))
                else:
                    ordinary = item.wanted & (ZMQ_POLLIN | ZMQ_POLLOUT)
                    if (item.wanted & ZMQ_POLLPRI or not ordinary) and not self.wait_urgently(item):
                        ordinary |= ZMQ_POLLIN
                    if ordinary:
                        descriptors.append((self.fds[item.place].fd, ordinary))
            if self.epoll >= 0:
                descriptors.append((self.epoll, ZMQ_POLLIN))
            if self.urgent >= 0:
                descriptors.append((self.urgent, ZMQ_POLLIN))
        except BaseException:
            self.end_urgency()
            raise
        with critical_section(self.doubts):
            self.doubts.told = function
        lock_lists()
        self.doubts.waits = True
        news = self.doubts.unread is not NULL
        unlock_lists()
        if news:
            function()
        return sockets, descriptors

    @critical_section
    def _end_wait(self):
        lock_lists()
        self.doubts.waits = False
        unlock_lists()
        with critical_section(self.doubts):
            self.doubts.told = None
        self.end_urgency()

    cdef bint wait_urgently(self, Item item) except -1:
        """Wait for POLLPRI, or only for errors, with an epoll set: event loops do not support these events.

        Return False if the system has no epoll, and errors make the file descriptor readable.
        """
        cdef int number, fd = self.fds[item.place].fd
        if self.urgent < 0:
            self.urgent = epoll_open()
        if self.urgent >= 0:
            if epoll_add(self.urgent, fd, self.fds[item.place].events & POLLPRI, NULL) == 0:
                return True
            number = errno
            if number == EPERM or number == EEXIST:  # files have no POLLPRI; or another object has the same descriptor
                return True
        else:
            number = errno
            if number == ENOSYS and not item.wanted & ZMQ_POLLPRI:
                return False
        raise error(
            ENOTSUP if number == ENOSYS else number, "poll", NO_TYPE, f"fd={fd} flags={item.wanted}",
            "an event loop cannot wait for POLLPRI on this system; use zmqcy.Poller in a thread"
            if number == ENOSYS else None)

    cdef void end_urgency(self) noexcept:
        if self.urgent >= 0:
            close_descriptor(self.urgent)
            self.urgent = NOWHERE

    cdef int wait(self, int milliseconds) except -2:
        """Wait for the file descriptors in the array. Return the number of ready ones, or -1 after a signal."""
        cdef int first = 0 if self.epoll >= 0 else 1
        cdef int happened, number
        self.busy = milliseconds > 0
        if milliseconds == 0:
            happened = sleep_on(self.fds + first, self.count - first, 0, 0, &self.eager, None, 0)
            number = errno
        else:
            with nogil:
                happened = sleep_on(
                    self.fds + first, self.count - first, milliseconds, self.spin, &self.eager, None, 0)
                number = errno
        self.busy = False
        if happened < 0 and not interrupted(number):
            raise error(number, "poll", NO_TYPE)
        return happened

    cdef int note(self, int happened) except -1:
        """Process the result of poll(): record ready file descriptors, mark sockets as unread."""
        cdef Item item
        cdef int i, found
        if happened == 0 and (not self.ready or self.count == 1 + self.sockets_there):
            return 0
        for i in range(1, self.count):
            if self.fds[i].revents or self.ready:
                item = self.slots[i]
                if not item.is_socket:
                    item.events = from_poll(self.fds[i].revents, item.wanted)
                    self.judge(item, item.events)
                elif self.fds[i].revents:
                    move(item, item.watch.unread)
        if self.epoll >= 0 and self.fds[0].revents:
            found = epoll_look(self.epoll, self.happened, self.happened_room)
            if found < 0:
                raise error(errno, "poll", NO_TYPE)
            for i in range(found):
                item = <Item> epoll_owner(self.happened[i])
                move(item, item.watch.unread)
        return 0

    cdef int read(self) except -1:
        """Read and remember the events of all unread sockets."""
        cdef Item item
        cdef NativeSocket socket
        cdef int events
        while True:
            item = first_of(&self.doubts.uncertain)
            if item is None:
                break
            move(item, item.watch.unread)
        while True:
            item = first_of(&self.doubts.unread)
            if item is None:
                return 0
            socket = item.what
            if item.place < 0 and item.watch.epoll < 0:
                self.place(item, item.watch.signaler.fd if socket.handle.fd < 0 else socket.handle.fd, POLLIN)
            if item.watch.signaler.poller is not NULL:
                drain(item.watch.signaler.fd)
            events = socket.remember_events(&item.watch, "poll")
            self.enter("poll")  # a signal handler may have let another thread poll, or may have forked
            if not item.registered:
                continue
            item.events = events
            self.judge(item, events & item.wanted)
            if socket.handle.asked:
                self.spin = max(self.spin, socket.handle.spin)
            if socket.handle.elsewhere:
                move(item, &self.doubts.uncertain)

    cdef int judge(self, Item item, int events) except -1:
        """Record whether an item is ready."""
        if events:
            self.ready.add(item)
        else:
            self.ready.discard(item)
        return 0

    cdef list report(self):
        """Return the ready objects with their events, in the order of registration."""
        cdef list ready = []
        cdef list items
        cdef Item item
        cdef int events
        if 8 * len(self.ready) < len(self.items):
            items = list(self.ready)
            if len(items) > 1:
                items.sort(key=_serial_of)
        else:
            items = PyDict_Values(self.items)
        for item in items:
            events = item.events & item.wanted if item.is_socket else item.events
            if events and item.registered:
                ready.append((item.what, events))
        return ready

    @property
    @critical_section
    def sockets(self) -> list[tuple[_Pollable, int]]:
        """list of tuple: the registered objects, each with its flags."""
        cdef Item item
        return [(item.what, item.wanted) for item in PyDict_Values(self.items)]

    @critical_section
    def __len__(self) -> int:
        return len(self.items)

    @critical_section
    def __contains__(self, socket: object) -> bool:
        return key_of(socket) in self.items


cdef void move(Item item, Link **list) noexcept:
    """Move an item to one of the lists of its poller. Its events are read before the next report."""
    lock_lists()
    remove(&item.watch.of_poller)
    insert(&item.watch.of_poller, list)
    unlock_lists()


cdef Item first_of(Link **list):
    """Return the first item of a poller's list, or None. The poller keeps the item alive."""
    cdef Link *link
    lock_lists()
    link = list[0]
    unlock_lists()
    return None if link is NULL else <Item> link.owner


def _serial_of(Item item):
    return item.serial


cdef object key_of(object socket):
    return socket if isinstance(socket, int) else -1 - <object> (<size_t> <PyObject *> socket)


cdef int to_descriptor(object socket) except -1:
    if not isinstance(socket, int):
        if not hasattr(socket, "fileno"):
            raise TypeError(
                f"register: a socket, a file descriptor or an object with fileno() is required, not {socket!r:.80}")
        socket = socket.fileno()
    if isinstance(socket, int) and socket < 0:
        raise ValueError(f"register: a file descriptor must not be negative: {socket}")
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
    if happened & ~(POLLIN | POLLOUT | POLLPRI):  # an error, hang-up or closed file descriptor is always reported
        events |= ZMQ_POLLERR
    return events


# mypy: disable-error-code="overload-cannot-match"
#: _T = TypeVar("_T", bound=_Pollable)
#: @overload
#: def select(
#:     rlist: Collection[_T], wlist: Collection[_T], xlist: Collection[_T], timeout: _Time = None
#: ) -> tuple[list[_T], list[_T], list[_T]]: ...
#: @overload  # mypy finds no _T for a list of several kinds
#: def select(
#:     rlist: Collection[_Pollable], wlist: Collection[_Pollable], xlist: Collection[_Pollable], timeout: _Time = None
#: ) -> tuple[list[_Pollable], list[_Pollable], list[_Pollable]]: ...
def select(rlist, wlist, xlist, timeout=None):
    """Wait as select.select does, on ZeroMQ sockets, file descriptors and objects with ``fileno()``.

    Blocks without the GIL. For repeated waits on the same sockets use `Poller`, which is faster.

    Parameters
    ----------
    rlist, wlist, xlist : sequence
        The objects to wait for until they can be read, can be written, or have an error.
    timeout : float, optional
        Max seconds to wait, as in select.select, not milliseconds. By default wait indefinitely.

    Returns
    -------
    tuple of three lists
        The ready objects of `rlist`, `wlist` and `xlist`.

    See Also
    --------
    Poller : for repeated waits.
    """
    lists = []
    for name, sockets in (("rlist", rlist), ("wlist", wlist), ("xlist", xlist)):
        if isinstance(sockets, NativeSocket):  # iteration would receive messages
            raise TypeError(f"select: {name} must be a sequence of sockets, not a single one: {sockets!r}")
        lists.append(list(sockets))
    if isinstance(timeout, (int, float)) and not timeout < 0:
        timeout = timeout * 1000.0
    elif timeout is not None and not hasattr(timeout, "total_seconds"):
        if not isinstance(timeout, (int, float)):
            raise TypeError(f"select: timeout must be a number of seconds, a timedelta or None, not {timeout!r:.80}")
        raise ValueError(f"select: timeout must not be negative: {timeout}")
    poller = Poller()
    wanted = {}
    for sockets, flag in zip(lists, (ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_POLLERR)):
        for socket in sockets:
            key = key_of(socket)
            wanted[key] = wanted.get(key, 0) | flag
            poller.register(socket, wanted[key])
    ready = {key_of(socket): events for socket, events in poller.poll(timeout)}
    # As in select.select, an object with an error or hang-up counts as readable and writable.
    return tuple(
        [socket for socket in sockets if ready.get(key_of(socket), 0) & flags]
        for sockets, flags in zip(lists, (ZMQ_POLLIN | ZMQ_POLLERR, ZMQ_POLLOUT | ZMQ_POLLERR, ZMQ_POLLERR)))
