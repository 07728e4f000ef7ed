"""Manage the lifetime of libzmq sockets and contexts.

A `Handle` is a libzmq socket, and a `ContextHandle` a libzmq context. A context lists the handles of its open sockets,
so that they can be closed when the context or the process ends, and marked in a forked child.
"""

from cython cimport critical_section, final, no_gc_clear
from cpython.exc cimport PyErr_SetObject, PyErr_WriteUnraisable
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.weakref cimport PyWeakref_NewRef
from libc.errno cimport EBUSY, ECHILD, EINTR, ENOMEM, ENOTSOCK
from libc.limits cimport INT_MAX
from libc.stdio cimport fprintf, snprintf, stderr
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, strncmp

from zmqcy._library cimport (
    COMMANDS, DATAGRAMS, FOREVER, NO_TYPE, SECOND, SENDS, THREAD_SAFE, check, error, to_milliseconds, type_of)
from zmqcy._system cimport (
    PY_LOCK_ACQUIRED, PyThread_acquire_lock, PyThread_acquire_lock_timed, PyThread_allocate_lock, PyThread_free_lock,
    PyThread_release_lock, add, at_fork, block_signals, close_descriptor, epoll_remove, nap, now, nsec, poke, replace,
    restore_signals, sigset, swap)
from zmqcy.libzmq cimport (
    ENOTSUP, ETERM, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_PAIR, ZMQ_POLLIN, ZMQ_POLLOUT, zmq_bind,
    zmq_close, zmq_connect, zmq_ctx_get, zmq_ctx_shutdown, zmq_ctx_term, zmq_errno as last_errno, zmq_fd_t,
    zmq_getsockopt, zmq_msg_close, zmq_msg_t, zmq_poller_add, zmq_poller_destroy, zmq_poller_fd, zmq_poller_new,
    zmq_setsockopt, zmq_socket, zmq_socket_monitor)

import atexit

from zmqcy import _library

cdef extern from "Python.h":
    int Py_AtExit(void (*func)() noexcept) noexcept

cdef extern from "pythread.h":
    unsigned long PyThread_start_new_thread(void (*func)(void *) noexcept nogil, void *arg) noexcept
    unsigned long PYTHREAD_INVALID_THREAD_ID

cdef enum:
    NOT_READ = -1       # value of `remembered`: no events
    MANY_SOCKETS = 100  # if `max_sockets` is at least this, zmqcy uses one socket itself (see `keeper`)


cdef void *LATE = <void *> -1  # value of `waker`: the context has ended, and nothing will be written
cdef Ending *endings = NULL  # all contexts of this process
cdef Link *strays = NULL  # handles of sockets whose context was not made by zmqcy
cdef nsec exit_linger = 10 * <nsec> SECOND
lists = NULL


cdef PyObject *reference_to(object owner) except? NULL:
    """Return the weak reference that `alive` needs without a GIL, or NULL with a GIL."""
    if not FREE_THREADED:
        return NULL
    reference = PyWeakref_NewRef(owner, None)
    Py_INCREF(reference)
    return <PyObject *> reference


# ------------------------------------------------------------------------------------------------------------- sockets

@final
@no_gc_clear  # __dealloc__ needs the context
cdef class Handle:
    """Own a libzmq socket, and the state that a socket object and its shadows share."""

    def __cinit__(self):
        self.state = CLOSED
        self.type = self.fd = -1
        self.remembered = NOT_READ
        self.exclusive = BUSY
        self.quick_size = 1
        self.of_context.owner = <void *> self

    def __dealloc__(self):
        cdef int i
        for i in range(self.held_count):
            <void> zmq_msg_close(&self.held[i])
        free(self.held)
        if not self.state & (CLOSED | FORKED) and delist(self):
            if self.foreign:
                silence(self)
            else:
                self.shut()
        if self.ending is not NULL and not self.ending.forked:
            lock_lists()
            self.ending.owners -= 1
            unlock_lists()
        Py_XDECREF(self.feed)
        Py_XDECREF(self.reference)

    cdef int enlist(self, Ending *ending) except -1:
        """Add the handle to the list of its context, or to the strays. Return 0 if a stray has the same socket."""
        cdef bint known
        if self.reference is NULL:
            self.reference = reference_to(self)
        lock_lists()
        known = ending is NULL and find(strays, self.socket) is not NULL
        if not known:
            self.ending = ending
            insert(&self.of_context, &strays if ending is NULL else &ending.handles)
            if ending is not NULL:
                ending.owners += 1
        unlock_lists()
        return not known

    # ---- the objects that share it

    cdef int join(self, User *user, object who) except -1:
        user.reference = reference_to(who)
        user.object = <PyObject *> who
        user.of_handle.owner = user
        lock_lists()
        insert(&user.of_handle, &self.users)
        unlock_lists()
        return 0

    cdef void leave(self, User *user) noexcept:
        lock_lists()
        remove(&user.of_handle)
        unlock_lists()
        Py_XDECREF(user.reference)
        user.reference = NULL

    cdef list living(self):
        """Return the objects that share the handle, except those that are being freed."""
        cdef list users = []
        cdef Link *link
        lock_lists()
        link = self.users
        while link is not NULL:
            users.append(alive((<User *> link.owner).object, (<User *> link.owner).reference))
            link = link.following
        unlock_lists()
        return [user for user in users if user is not None]

    def user(self):
        """Return one of the objects that share the handle, or None."""
        return next(iter(self.living()), None)

    # ---- watches

    cdef void forget(self) noexcept:
        """Invalidate the remembered events of all watches, before a call that may change the events."""
        cdef Watch *watch
        cdef Link *link
        cdef bint wanted = False
        self.state &= ~WATCHED
        self.remembered = NOT_READ
        lock_lists()
        self.round += 1
        link = self.watches
        while link is not NULL:
            watch = <Watch *> link.owner
            link = link.following
            if watch.unread is not NULL and watch.of_poller.place is NULL:
                insert(&watch.of_poller, watch.unread)
            wanted |= watch.wanted is NULL or watch.wanted[0]
        unlock_lists()
        while wanted:
            wanted = tell_next(self)

    cdef void withdraw(self) noexcept:
        """Remove the socket from the epoll sets of pollers, before its file descriptor is closed.

        An epoll set keeps a closed file descriptor if a forked child has a copy, and the number may be reused.
        """
        cdef Watch *watch
        cdef Link *link
        lock_lists()
        link = self.watches
        while link is not NULL:
            watch = <Watch *> link.owner
            if watch.epoll >= 0:
                epoll_remove(watch.epoll, self.fd)
                watch.epoll = -1
            link = link.following
        unlock_lists()
        self.forget()

    # ---- held messages: received, but not returned yet

    cdef int hold(self, zmq_msg_t *parts, int count) except -1:
        """Hold parts that could not be returned. The next receives return them first."""
        cdef zmq_msg_t *held = <zmq_msg_t *> realloc(self.held, (self.held_count + count) * sizeof(zmq_msg_t))
        cdef int i
        if held is NULL:
            raise MemoryError()
        for i in range(count):
            memcpy(&held[self.held_count + i], &parts[count - 1 - i], sizeof(zmq_msg_t))  # as libzmq does
        self.held = held
        self.held_count += count
        self.forget()
        return 0

    cdef void unhold(self, zmq_msg_t *msg) noexcept:
        """Move the first held part into an initialised message."""
        self.held_count -= 1
        memcpy(msg, &self.held[self.held_count], sizeof(zmq_msg_t))
        if self.held_count == 0:
            free(self.held)
            self.held = NULL

    cdef void set_type(self, int number) noexcept:
        self.type = number
        self.traits = type_of(number).traits
        self.datagram = self.traits & DATAGRAMS != 0
        # Thread-safe types are checked elsewhere, when they send more than one part.
        if self.traits & COMMANDS or type_of(number).parts and not self.traits & THREAD_SAFE:
            self.check_messages()

    cdef void check_messages(self) noexcept:
        """Check each message before it is sent: disable the fast path, which does not check."""
        self.quick_size = 0

    # ---- end

    cdef void stop_monitor(self) noexcept:
        """Stop the monitor of the socket.

        libzmq writes a last event to the PAIR socket that reads them, and blocks until one is connected. So connect a
        PAIR socket of our own meanwhile. If another one is connected, libzmq refuses ours.
        """
        cdef void *reader = NULL
        cdef bytes address = None if self.feed is NULL else (<object> self.feed).address
        if address is not None and self.ending is not NULL:
            reader = own_socket(self.ending.handle, ZMQ_PAIR)
            if reader is not NULL:
                <void> zmq_connect(reader, <const char *> address)
        <void> zmq_socket_monitor(self.socket, NULL, 0)
        if reader is not NULL:
            <void> zmq_close(reader)

    cdef int close(self) except -1:
        """Wake the users and watches of the socket, and close it. Raise a KeyboardInterrupt only after the close."""
        cdef object interruption = None
        self.state |= BUSY  # until the socket is closed: the following calls may run Python code
        if self.names is not None:
            self.context.note_unbind(self.names)
        self.withdraw()
        for user in self.living():
            try:
                user._closing()
            except Exception as exception:
                PyErr_SetObject(type(exception), exception)
                PyErr_WriteUnraisable(user)
            except BaseException as exception:
                interruption = exception
        if not self.state & FORKED and delist(self):
            self.shut()
        self.state |= CLOSED
        self.state &= ~BUSY
        if interruption is not None:
            raise interruption
        return 0

    cdef void shut(self) noexcept:
        """Close the socket. The handle must be in no list any more."""
        silence(self)
        self.state |= CLOSED
        note_last(self)
        if self.feed is not NULL and (<object> self.feed).pair is not None:
            self.stop_monitor()  # its PAIR may stop reading soon, and a thread of libzmq would wait for it
        <void> zmq_close(self.socket)


cdef int enter_slowly(Handle handle, str call) except -1:
    """Invalidate remembered events, and raise if the state of the socket forbids the call."""
    while handle.state & WATCHED:  # repeat: another thread may have read the events meanwhile
        handle.forget()
    if not handle.state & (BUSY | CLOSED | FORKED):
        return 0
    if handle.state & ENDED:
        raise error(ETERM, call, handle.type)
    if handle.state & CLOSED:
        raise error(ENOTSOCK, call, handle.type, None, "the socket is closed")
    if handle.state & FORKED:
        raise error(ECHILD, call, handle.type, None, "the socket was made before the fork; make one in this process")
    why = "another thread is in a call on this socket; use one socket per thread, or a lock"
    raise error(EBUSY, call, handle.type, None, why)


cdef bint delist(Handle handle) noexcept:
    """Remove a handle from its list before the close. Return whether it was there: the caller then closes it."""
    cdef bint found
    lock_lists()
    found = handle.of_context.place is not NULL
    remove(&handle.of_context)
    unlock_lists()
    return found


cdef bint tell_next(Handle handle) noexcept:
    """Tell one watch that wants to be told in this round. Return whether there was one.

    The call may run Python code, which may add and remove watches.
    """
    cdef Watch *watch = NULL
    cdef Link *link
    cdef object listener
    lock_lists()
    link = handle.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        if watch.round != handle.round and (watch.wanted is NULL or watch.wanted[0]):
            break
        link = link.following
    if link is NULL:
        unlock_lists()
        return False
    watch.round = handle.round
    tell = watch.tell
    listener = alive(watch.listener, watch.reference)
    unlock_lists()
    if listener is not None:
        tell(listener)
    return True


cdef void *own_socket(void *context, int type) noexcept nogil:
    """Make an internal socket with linger 0. NULL: see zmq_errno."""
    cdef int none = 0
    cdef void *socket = zmq_socket(context, type)
    if socket is not NULL:
        <void> zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none))
    return socket


cdef int make_signaler(Signaler *signaler, void *socket) noexcept nogil:
    """Make a file descriptor that signals new events of a thread-safe socket. Return 0 or an errno."""
    cdef void *poller
    cdef zmq_fd_t fd = 0
    cdef int number
    if <void *> zmq_poller_new is NULL or <void *> zmq_poller_fd is NULL:
        return ENOTSUP
    poller = zmq_poller_new()
    if (
        poller is NULL or zmq_poller_add(poller, socket, NULL, <short> (ZMQ_POLLIN | ZMQ_POLLOUT)) < 0
        or zmq_poller_fd(poller, &fd) < 0
    ):
        number = last_errno()
        if poller is not NULL:
            <void> zmq_poller_destroy(&poller)
        return number
    signaler.poller = poller
    signaler.fd = <int> fd
    return 0


cdef void close_signaler(Signaler *signaler, Handle handle) noexcept:
    # A forked child leaks it: libzmq would wait for a lock that a thread of the parent may have held.
    if signaler.poller is not NULL and not handle.state & (FORKED | CLOSED):
        <void> zmq_poller_destroy(&signaler.poller)
    signaler.poller = NULL


cdef void silence(Handle handle) noexcept:
    """Destroy the file descriptors of a thread-safe socket, before it is closed."""
    cdef Link *link
    lock_lists()
    link = handle.watches
    while link is not NULL:
        close_signaler(&(<Watch *> link.owner).signaler, handle)
        link = link.following
    unlock_lists()
    close_signaler(&handle.signaler, handle)


cdef Handle handle_at(Link *link):
    # Call it after `lock_lists`.
    return alive(<PyObject *> link.owner, (<Handle> link.owner).reference)


cdef Handle handle_with(void *socket, bint *known):
    """Return the handle of a libzmq socket, and set `known`. None: the socket is not known, or being closed."""
    cdef Ending *ending
    cdef Link *link = NULL
    cdef Handle found
    lock_lists()
    ending = endings
    while link is NULL and ending is not NULL:
        link = find(ending.handles, socket)
        ending = ending.next
    if link is NULL:
        link = find(strays, socket)
    known[0] = link is not NULL
    found = None if link is NULL else handle_at(link)
    unlock_lists()
    return found


cdef Link *find(Link *link, void *socket) noexcept:
    while link is not NULL and (<Handle> link.owner).socket is not socket:
        link = link.following
    return link


# ------------------------------------------------------------------------------------------------------------ contexts

@final
cdef class ContextHandle:
    """Own a libzmq context, and the state that a context object, its shadows and its sockets share."""

    def __del__(self):
        self.has_ended()

    def __dealloc__(self):
        cdef PyObject *reference
        if self.ending is NULL or self.ending.forked:
            return
        lock_lists()
        reference = self.ending.reference
        self.ending.owner = self.ending.reference = NULL
        unlock_lists()
        Py_XDECREF(reference)
        if not self.ending.foreign:
            self.let_waiting_go()
            start_ending(self.ending)
        lock_lists()
        self.ending.owners -= 1
        unlock_lists()

    cdef int enter(self, str call) except -1:
        if self.ending is NULL:
            raise error(ENOTSOCK, call, NO_TYPE, None, "the Context was not initialised; call Context.__init__ first")
        if self.ending.forked:
            raise error(ECHILD, call, NO_TYPE, None, "the context was made before the fork; make one in this process")
        if self.ending.started:
            raise error(ETERM, call, NO_TYPE)
        return 0

    cdef bint is_closed(self) noexcept:
        return self.ending is NULL or self.ending.forked or has_finished(self.ending)

    # Pending inproc connections: a socket that connected to an unbound inproc name stays in libzmq after its close,
    # until the name is bound or the context ends. When the context ends, libzmq needs one more of `max_sockets` for
    # each such connection, and aborts if none is left. So one socket, the keeper, binds all these names first.

    @critical_section
    cdef int note_bind(self, bytes name) except -1:
        """Store that an inproc name is bound: its pending connections are made."""
        if self.bound is None:
            self.bound = set()
        self.bound.add(name)
        if self.waiting is not None:
            self.waiting.discard(name)
        return 0

    @critical_section
    cdef int note_unbind(self, object names) except -1:
        if self.bound is not None:
            self.bound.difference_update(names)
        return 0

    @critical_section
    cdef int note_connect(self, bytes name) except -1:
        """Store that a connection is pending, unless its inproc name is bound."""
        if self.bound is not None and name in self.bound:
            return 0
        if self.waiting is None:
            self.waiting = set()
        self.waiting.add(name)
        if self.ending.keeper is not NULL or self.ending.foreign or self.ending.started:
            return 0
        if zmq_ctx_get(self.ending.handle, ZMQ_MAX_SOCKETS) >= MANY_SOCKETS:
            self.ending.keeper = own_socket(self.ending.handle, ZMQ_PAIR)
        return 0

    cdef int let_waiting_go(self) except -1:
        """Bind the names of all pending inproc connections, before the context ends."""
        cdef const char *address
        if self.waiting is not None and self.ending.keeper is not NULL and not self.ending.started:
            for name in self.waiting:
                address = name
                <void> zmq_bind(self.ending.keeper, address)
            self.waiting = None
        return 0

    @critical_section
    cdef int keep_end(self, object end) except -1:
        """Keep a PAIR socket whose reader was cancelled: a thread of libzmq would wait indefinitely to write to it."""
        kept = self.ends or []
        self.ends = [end]
        for each in kept:
            if each.events & ZMQ_POLLIN:
                each.close(0)
            else:
                self.ends.append(each)
        return 0

    cdef int drop_ends(self) except -1:
        """Close the kept sockets: the context ends, and libzmq writes to them no more."""
        with critical_section(self):
            kept, self.ends = self.ends, None
        for end in kept or ():
            end.close(0)
        return 0

    @critical_section
    cdef object end_soon(self):
        """Start to end the context. Return a socket that becomes readable when it has ended, or None if it has."""
        if self.is_closed():
            return None
        self.drop_ends()
        import os
        import socket
        if self.woken is None:
            woken, waker = socket.socketpair()
            self.begin_end()
            # The thread that ends the context may outlive this object, so it gets the file descriptor.
            if replace(&self.ending.waker, NULL, <void *> (<size_t> waker.fileno() + 1)):
                waker.detach()
                self.woken = woken.detach()  # a number: the GC could close a socket object before this object is freed
            else:
                woken.close()
                waker.close()
                if self.woken is None:  # the context has ended; otherwise another thread has set `woken`
                    return None
        return socket.socket(fileno=os.dup(self.woken))  # one per waiting task

    @critical_section
    cdef int has_ended(self) except -1:
        if self.woken is not None:
            <void> close_descriptor(self.woken)
            self.woken = None
        return 0

    # ---- end

    @critical_section
    cdef int shutdown(self) except -1:
        if self.ending is NULL or self.ending.forked or self.ending.started:
            return 0
        self.let_waiting_go()
        return check(zmq_ctx_shutdown(self.ending.handle), "shutdown", NO_TYPE, None)

    @critical_section
    cdef bint end_unless_open(self) except -1:
        """Start to end the context if no socket is open. Return whether it ends. No socket can be made in between."""
        close_dying(self.ending)
        if self.ending.handles is not NULL:
            return False
        self.begin_end()
        return True

    @critical_section
    cdef int begin_end(self) except -1:
        """Start the thread that ends the context."""
        close_dying(self.ending)
        self.let_waiting_go()
        if not start_ending(self.ending):
            raise error(ENOMEM, "term", NO_TYPE, None, "no thread can be started; raise the limit (ulimit -u)")
        return 0


cdef list handles_of(Ending *ending):
    cdef list handles = []
    cdef Link *link
    lock_lists()
    link = ending.handles
    while link is not NULL:
        handles.append(handle_at(link))
        link = link.following
    unlock_lists()
    return [handle for handle in handles if handle is not None]


cdef list sockets_of(Ending *ending):
    """Return an object for each open socket of a context, except those that other threads are dropping."""
    cdef Handle handle
    cdef list sockets = []
    for handle in handles_of(ending):
        sockets += handle.living()[-1:]
    return sockets


cdef void close_dying(Ending *ending) noexcept:
    """Close the sockets whose objects are being freed: their finalizers may be the code that ends the context."""
    cdef Handle handle
    for handle in handles_of(ending):
        if not handle.living() and delist(handle):
            handle.shut()


cdef void disown(Link *link) noexcept nogil:
    while link is not NULL:
        mark_forked(<Handle> link.owner)
        link = link.following


cdef void mark_forked(Handle handle) noexcept nogil:
    handle.state |= FORKED


cdef void after_fork_in_child() noexcept nogil:
    """Mark all sockets and contexts as the parent's. The threads of libzmq do not exist in a forked child."""
    global endings, lists, strays
    cdef Ending *ending = endings
    lists = NULL
    while ending is not NULL:
        ending.forked = True
        disown(ending.handles)
        ending = ending.next
    disown(strays)
    endings = NULL
    strays = NULL


cdef bint has_finished(Ending *ending) noexcept nogil:
    return add(&ending.finished, 0) != 0


cdef Ending *new_ending(void *context, object owner) except NULL:
    """Register a context, and free the records of contexts that have ended."""
    global endings
    cdef Ending *ending
    cdef Ending **link = &endings
    cdef PyObject *reference = reference_to(owner)
    lock_lists()
    while link[0] is not NULL:
        ending = link[0]
        if ending.owners == 0 and (has_finished(ending) if ending.started else ending.foreign):
            link[0] = ending.next
            PyThread_acquire_lock(ending.done, 1)  # wait until its thread has released the lock
            PyThread_release_lock(ending.done)
            PyThread_free_lock(ending.done)
            free(ending)
        else:
            link = &ending.next
    ending = <Ending *> calloc(1, sizeof(Ending))
    if ending is not NULL:
        ending.done = PyThread_allocate_lock()
    if ending is NULL or ending.done is NULL:
        unlock_lists()
        free(ending)
        Py_XDECREF(reference)
        raise MemoryError("Context")
    ending.handle = context
    ending.owner = <PyObject *> owner
    ending.reference = reference
    ending.schedule.policy = ending.schedule.priority = -1
    ending.owners = 1
    ending.next = endings
    endings = ending
    unlock_lists()
    return ending


cdef ContextHandle context_with(void *context):
    """Return the handle of a libzmq context, or None if the context is not known."""
    cdef Ending *ending = NULL
    cdef Ending *each
    lock_lists()
    each = endings
    while each is not NULL and (ending is NULL or ending.foreign):
        if each.handle is context and not has_finished(each) and not (each.foreign and each.owner is NULL):
            ending = each
        each = each.next
    found = None if ending is NULL else alive(ending.owner, ending.reference)
    unlock_lists()
    if ending is not NULL and found is None:
        raise error(ETERM, "shadow", NO_TYPE)
    return found


cdef void run_ending(void *argument) noexcept nogil:
    """Terminate a context, in a thread without Python: zmq_ctx_term has no timeout, and may block indefinitely."""
    cdef Ending *ending = <Ending *> argument
    cdef void *done = ending.done
    cdef size_t waker
    while zmq_ctx_term(ending.handle) < 0 and last_errno() == EINTR:
        pass
    add(&ending.finished, 1)
    waker = <size_t> swap(&ending.waker, LATE)
    if waker:
        poke(<int> (waker - 1))
        <void> close_descriptor(<int> (waker - 1))
    PyThread_release_lock(done)


cdef bint start_ending(Ending *ending) noexcept:
    """Start the thread that terminates a context, once. Return whether it was started."""
    cdef sigset mask
    cdef unsigned long thread
    if ending.started:
        return True
    if ending.keeper is not NULL:
        <void> zmq_close(ending.keeper)
        ending.keeper = NULL
    PyThread_acquire_lock(ending.done, 0)
    block_signals(&mask)  # the thread inherits the mask: signals must interrupt the threads that wait for it
    thread = PyThread_start_new_thread(run_ending, ending)
    restore_signals(&mask)
    ending.started = thread != PYTHREAD_INVALID_THREAD_ID
    if not ending.started:
        PyThread_release_lock(ending.done)
    return ending.started


cdef void end_process() noexcept:
    """Terminate all contexts after the interpreter has ended. Sockets send their messages within their linger."""
    cdef Ending *ending = endings
    cdef bint waiting = False
    while ending is not NULL:
        if not ending.started:
            close_at_exit(ending)
        waiting |= ending.started and not (has_finished(ending) or ending.abandoned)
        ending = ending.next
    if waiting:
        wait_at_exit(now())


cdef void close_at_exit(Ending *ending) noexcept:
    """Close the open sockets of a context, so that it can end.

    The interpreter has ended, but the memory of objects that refer to open sockets still exists.
    """
    cdef Link *link = ending.handles
    while link is not NULL:
        if not close_last(<Handle> link.owner):
            return
        link = link.following
    ending.handles = NULL
    if not ending.foreign:
        start_ending(ending)


cdef bint close_last(Handle handle) noexcept nogil:
    """Close a socket at exit. Return False if a thread does not leave it."""
    cdef int linger = 0
    cdef int naps = 0
    cdef size_t size = sizeof(int)
    if is_inside(handle):  # a daemon thread is blocked in a call
        zmq_ctx_shutdown(handle.ending.handle)
        while is_inside(handle) and naps < 200:
            nap()
            naps += 1
        if is_inside(handle):
            return False
    note_last(handle)
    <void> zmq_getsockopt(handle.socket, ZMQ_LINGER, &linger, &size)
    if linger == FOREVER and not handle.linger_set:
        linger = FOREVER if exit_linger == FOREVER else <int> min(exit_linger // 1000000, <nsec> INT_MAX)
        <void> zmq_setsockopt(handle.socket, ZMQ_LINGER, &linger, sizeof(int))
    <void> zmq_close(handle.socket)
    return True


cdef void wait_at_exit(nsec start) noexcept:
    """Wait for the contexts with unsent messages. Print a message after one second."""
    cdef Ending *ending = endings
    cdef nsec deadline, limit
    cdef char[64] most
    cdef bint told = False
    while ending is not NULL:
        limit = FOREVER if FOREVER in (ending.linger, exit_linger) else max(ending.linger, exit_linger)
        deadline = FOREVER if limit == FOREVER else start + limit
        while ending.started and not has_finished(ending) and not ending.abandoned:
            if PyThread_acquire_lock_timed(ending.done, 50000, 0) == PY_LOCK_ACQUIRED:
                PyThread_release_lock(ending.done)
                break
            if deadline != FOREVER and now() > deadline:
                if told:
                    fprintf(stderr, b"zmqcy: dropped messages that could not be sent: %s\n", ending.last)
                break
            if not told and now() - start > SECOND:
                told = True
                if exit_linger == FOREVER:
                    snprintf(most, sizeof(most), b"indefinitely (zmqcy.exit_linger is -1)")
                else:
                    snprintf(most, sizeof(most), b"at most %g s (zmqcy.exit_linger)", <double> exit_linger / SECOND)
                fprintf(
                    stderr,
                    b"zmqcy: exit waits for unsent messages: %s. It waits %s for sockets without a linger. "
                    b"Set linger=0 to drop the messages; Ctrl-C ends the wait.\n",
                    ending.last, most)
        ending = ending.next


cdef void note_last(Handle handle) noexcept nogil:
    """Store the description and the linger of a socket before its close, for the wait at exit."""
    cdef Ending *ending = handle.ending
    cdef char[200] endpoint
    cdef size_t size = sizeof(endpoint)
    cdef int linger = 0
    if ending is NULL:
        return
    endpoint[0] = 0
    <void> zmq_getsockopt(handle.socket, ZMQ_LAST_ENDPOINT, endpoint, &size)
    if strncmp(endpoint, b"inproc://zmqcy.monitor.", 23) == 0:  # a monitor's own socket sends nothing
        return
    if handle.traits & SENDS:
        snprintf(ending.last, sizeof(ending.last), b"%s %s", type_of(handle.type).name, endpoint)
    size = sizeof(int)
    <void> zmq_getsockopt(handle.socket, ZMQ_LINGER, &linger, &size)
    if not handle.linger_set:
        if handle.traits & SENDS and linger == FOREVER:
            ending.unlimited = True
    elif ending.linger != FOREVER:  # a linger set by the user is always respected
        ending.linger = FOREVER if linger == FOREVER else max(ending.linger, <nsec> linger * 1000000)


cdef int end_within(Ending *ending, long long microseconds) noexcept nogil:
    """Wait until a context has ended. Return 0, or EINTR: check for signals and for the deadline."""
    if PyThread_acquire_lock_timed(ending.done, microseconds, 1) != PY_LOCK_ACQUIRED:
        return EINTR
    PyThread_release_lock(ending.done)
    return 0


def read_exit_linger():
    """Store `zmqcy.exit_linger`, before the interpreter ends."""
    global exit_linger
    limit = to_milliseconds(_library.settings.get("exit_linger", 10000), "exit_linger")
    exit_linger = FOREVER if limit == FOREVER else <nsec> (min(limit, 1e12) * 1000000)


if at_fork(after_fork_in_child) or Py_AtExit(end_process) < 0:
    raise ImportError("zmqcy: the handlers for fork and exit could not be registered")
atexit.register(read_exit_linger)
