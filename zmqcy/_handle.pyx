"""Sockets of libzmq, who has them, and how they and their contexts end.

A `Handle` is a socket of libzmq's. A context lists its handles: it ends with the program, with the process, or in a
forked child.
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
from libc.string cimport memcpy

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
    NOT_READ = -1       # of the events
    MANY_SOCKETS = 100  # of `max_sockets`, from which on nobody misses one


cdef void *LATE = <void *> -1  # instead of a waker: nobody would write to it any more
cdef Ending *endings = NULL  # of all contexts of this process
cdef Link *strays = NULL  # the handles that belong to no context of ours
cdef nsec exit_linger = 10 * <nsec> SECOND
lists = NULL


cdef PyObject *reference_to(object owner) except? NULL:
    """Return what `alive` needs in addition to the object."""
    if not FREE_THREADED:
        return NULL
    reference = PyWeakref_NewRef(owner, None)
    Py_INCREF(reference)
    return <PyObject *> reference


# ------------------------------------------------------------------------------------------------------------- sockets

@final
@no_gc_clear  # its end needs the context
cdef class Handle:
    """A socket of libzmq's, with all that the objects share that have it."""

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
        """Put the handle into the list of its context, or of the strays. Return 0 where a stray has its socket."""
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

    # ---- who has it

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
        """Return the objects that have the handle, but for those that are about to go."""
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
        """Return one of the objects that have the handle, or None."""
        return next(iter(self.living()), None)

    # ---- who watches it

    cdef void forget(self) noexcept:
        """Let those who watch the socket read its events again, which may change."""
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
        """Take the socket out of the epoll sets of pollers before its descriptor is closed, by us or behind our back.

        A set would keep a descriptor of which a forked child has a copy; and the number may soon be another socket's.
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

    # ---- what was received and waits

    cdef int hold(self, zmq_msg_t *parts, int count) except -1:
        """Keep parts that could not be handed over, in front of what the next receives get."""
        cdef zmq_msg_t *held = <zmq_msg_t *> realloc(self.held, (self.held_count + count) * sizeof(zmq_msg_t))
        cdef int i
        if held is NULL:
            raise MemoryError()
        for i in range(count):
            memcpy(&held[self.held_count + i], &parts[count - 1 - i], sizeof(zmq_msg_t))  # libzmq moves them so too
        self.held = held
        self.held_count += count
        self.forget()
        return 0

    cdef void unhold(self, zmq_msg_t *msg) noexcept:
        """Move the first of the kept parts into an initialised message."""
        self.held_count -= 1
        memcpy(msg, &self.held[self.held_count], sizeof(zmq_msg_t))
        if self.held_count == 0:
            free(self.held)
            self.held = NULL

    cdef void set_type(self, int number) noexcept:
        self.type = number
        self.traits = type_of(number).traits
        self.datagram = self.traits & DATAGRAMS != 0
        # Thread-safe types are checked where they send anything but one part.
        if self.traits & COMMANDS or type_of(number).parts and not self.traits & THREAD_SAFE:
            self.check_messages()

    cdef void check_messages(self) noexcept:
        """Have each message checked before it is sent, which none is that is sent quickly."""
        self.quick_size = 0

    # ---- its end

    cdef void stop_monitor(self) noexcept:
        """Have libzmq write no more events.

        It says so to the PAIR that reads them, and waits until there is one. So one of ours is there meanwhile; where
        there is another one, libzmq turns it away.
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
        """Have those who use or watch the socket let go of it, and close it. What Ctrl-C raises comes after that."""
        cdef object interruption = None
        self.state |= BUSY  # until it is closed: what follows may run any code
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
        """Close the socket, which no list has any more."""
        silence(self)
        self.state |= CLOSED
        note_last(self)
        if self.feed is not NULL and (<object> self.feed).pair is not None:
            self.stop_monitor()  # soon its PAIR may read no more, and a thread of libzmq would wait for it
        <void> zmq_close(self.socket)


cdef int enter_slowly(Handle handle, str call) except -1:
    """Let others forget what the call may change, and raise what forbids the call."""
    while handle.state & WATCHED:  # again, where another thread has read them meanwhile
        handle.forget()
    if not handle.state & (BUSY | CLOSED | FORKED):
        return 0
    if handle.state & ENDED:
        raise error(ETERM, call, handle.type)
    if handle.state & CLOSED:
        raise error(ENOTSOCK, call, handle.type, None, "the socket is closed")
    if handle.state & FORKED:
        raise error(ECHILD, call, handle.type, None, "the socket was made before the fork: make one here")
    raise error(EBUSY, call, handle.type, None, "another thread is in a call on this socket")


cdef bint delist(Handle handle) noexcept:
    """Take a handle that is about to be closed out of its list. Return whether it was there: who finds it closes it."""
    cdef bint found
    lock_lists()
    found = handle.of_context.place is not NULL
    remove(&handle.of_context)
    unlock_lists()
    return found


cdef bint tell_next(Handle handle) noexcept:
    """Tell one of those who want to be told in this round. Return whether there was one.

    It may run any code, by which others come and go.
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
    """Make a socket that no user sees, and whose close waits for nothing. NULL: zmq_errno says why not."""
    cdef int none = 0
    cdef void *socket = zmq_socket(context, type)
    if socket is not NULL:
        <void> zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none))
    return socket


cdef int make_signaler(Signaler *signaler, void *socket) noexcept nogil:
    """Have a descriptor that tells of a thread-safe socket what comes from now on. Return 0 or an errno."""
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
    # A forked child keeps it: libzmq would wait for a lock that a thread of the parent may have had.
    if signaler.poller is not NULL and not handle.state & (FORKED | CLOSED):
        <void> zmq_poller_destroy(&signaler.poller)
    signaler.poller = NULL


cdef void silence(Handle handle) noexcept:
    """Let nobody have a descriptor of a thread-safe socket any more, which is about to be closed."""
    cdef Link *link
    lock_lists()
    link = handle.watches
    while link is not NULL:
        close_signaler(&(<Watch *> link.owner).signaler, handle)
        link = link.following
    unlock_lists()
    close_signaler(&handle.signaler, handle)


cdef Handle handle_at(Link *link):
    # Comes after `lock_lists`.
    return alive(<PyObject *> link.owner, (<Handle> link.owner).reference)


cdef Handle handle_with(void *socket, bint *known):
    """Return the handle of a socket. None: it is not `known`, or about to be closed."""
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
    """A context of libzmq's, with all that the objects share that have it."""

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
            raise error(ENOTSOCK, call, NO_TYPE, "of a Context that was not initialised")
        if self.ending.forked:
            raise error(ECHILD, call, NO_TYPE, None, "the context was made before the fork: make one in this process")
        if self.ending.started:
            raise error(ETERM, call, NO_TYPE)
        return 0

    cdef bint is_closed(self) noexcept:
        return self.ending is NULL or self.ending.forked or has_finished(self.ending)

    # A socket that has connected over inproc to a name that nobody has bound stays in libzmq after its close, until
    # somebody binds it or the context ends. The end needs a place among `max_sockets` for each such connection, beside
    # those of the sockets that wait, and aborts where there is none. So one socket, made in time, lets all of them go.

    @critical_section
    cdef int note_bind(self, bytes name) except -1:
        """Take note that a name of inproc is bound: who waited for it does so no more."""
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
        """Take note that a connection waits for a name of inproc, where it does."""
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
        """Let the connections go that wait for a name of inproc: the context is about to end."""
        cdef const char *address
        if self.waiting is not None and self.ending.keeper is not NULL and not self.ending.started:
            for name in self.waiting:
                address = name
                <void> zmq_bind(self.ending.keeper, address)
            self.waiting = None
        return 0

    @critical_section
    cdef int keep_end(self, object end) except -1:
        """Keep a socket that nobody waits for any more: a thread of libzmq would wait for ever to write to it."""
        kept = self.ends or []
        self.ends = [end]
        for each in kept:
            if each.events & ZMQ_POLLIN:
                each.close(0)
            else:
                self.ends.append(each)
        return 0

    cdef int drop_ends(self) except -1:
        """Close the sockets that were kept: the context ends, and with it what libzmq would write."""
        with critical_section(self):
            kept, self.ends = self.ends, None
        for end in kept or ():
            end.close(0)
        return 0

    @critical_section
    cdef object end_soon(self):
        """Begin to end the context. Return a socket that is readable once it has ended, or None: it has."""
        if self.is_closed():
            return None
        self.drop_ends()
        import os
        import socket
        if self.woken is None:
            woken, waker = socket.socketpair()
            self.begin_end()
            # The thread that ends it may outlive this object, so that the descriptor is given to it.
            if replace(&self.ending.waker, NULL, <void *> (<size_t> waker.fileno() + 1)):
                waker.detach()
                self.woken = woken.detach()  # the collector would end a socket before this
            else:
                woken.close()
                waker.close()
                if self.woken is None:  # it has ended meanwhile, or else another thread was here
                    return None
        return socket.socket(fileno=os.dup(self.woken))  # each task watches its own

    @critical_section
    cdef int has_ended(self) except -1:
        if self.woken is not None:
            <void> close_descriptor(self.woken)
            self.woken = None
        return 0

    # ---- its end

    @critical_section
    cdef int shutdown(self) except -1:
        if self.ending is NULL or self.ending.forked or self.ending.started:
            return 0
        self.let_waiting_go()
        return check(zmq_ctx_shutdown(self.ending.handle), "shutdown", NO_TYPE, None)

    @critical_section
    cdef bint end_unless_open(self) except -1:
        """Begin to end the context unless it has open sockets; none is made in between. Return whether it ends."""
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
            raise error(ENOMEM, "term", NO_TYPE, "no thread could be started")
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
    """Return an object for each open socket of a context, but for those that other threads are about to drop."""
    cdef Handle handle
    cdef list sockets = []
    for handle in handles_of(ending):
        sockets += handle.living()[-1:]
    return sockets


cdef void close_dying(Ending *ending) noexcept:
    """Close the sockets whose objects are about to go: what runs meanwhile may be what ends the context."""
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
    """Mark all that was the parent's: neither its sockets nor its threads are ours."""
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
    """Register a context, and free what is left of those that are gone."""
    global endings
    cdef Ending *ending
    cdef Ending **link = &endings
    cdef PyObject *reference = reference_to(owner)
    lock_lists()
    while link[0] is not NULL:
        ending = link[0]
        if ending.owners == 0 and (has_finished(ending) if ending.started else ending.foreign):
            link[0] = ending.next
            PyThread_acquire_lock(ending.done, 1)  # its thread has let go of the lock, too
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
    """Return the handle of a context. None: it is not known."""
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
    """End a context in a thread without Python: zmq_ctx_term takes no timeout, and may wait for ever."""
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
    """Start the thread that ends a context, once. Return whether it runs."""
    cdef sigset mask
    cdef unsigned long thread
    if ending.started:
        return True
    if ending.keeper is not NULL:
        <void> zmq_close(ending.keeper)
        ending.keeper = NULL
    PyThread_acquire_lock(ending.done, 0)
    block_signals(&mask)  # the thread inherits the mask: signals are for the threads that wait for it
    thread = PyThread_start_new_thread(run_ending, ending)
    restore_signals(&mask)
    ending.started = thread != PYTHREAD_INVALID_THREAD_ID
    if not ending.started:
        PyThread_release_lock(ending.done)
    return ending.started


cdef void end_process() noexcept:
    """End every context when the interpreter is gone; its sockets keep what they owe within their linger."""
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
    """Close what is still open, so that the context can end.

    The interpreter is gone, but not the memory of an object that still refers to an open socket.
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
    """Close a socket at exit. Return False where a thread does not leave it."""
    cdef int linger = 0
    cdef int naps = 0
    cdef size_t size = sizeof(int)
    if is_inside(handle):  # a daemon thread waits in it
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
    """Wait for the contexts that have messages left; after a second, say so."""
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
                    fprintf(stderr, b"zmqcy: gave up messages that could not be sent: %s\n", ending.last)
                break
            if not told and now() - start > SECOND:
                told = True
                if exit_linger == FOREVER:
                    snprintf(most, sizeof(most), b"without end (zmqcy.exit_linger is -1)")
                else:
                    snprintf(most, sizeof(most), b"%g s at most (zmqcy.exit_linger)", <double> exit_linger / SECOND)
                fprintf(
                    stderr,
                    b"zmqcy: exit waits for messages not yet sent: %s. It waits %s where no linger was set; "
                    b"linger=0 on a socket drops them, Ctrl-C ends the wait.\n",
                    ending.last, most)
        ending = ending.next


cdef void note_last(Handle handle) noexcept nogil:
    """Note of a socket that is about to be closed what the end of the process must know: its name and its linger."""
    cdef Ending *ending = handle.ending
    cdef char[200] endpoint
    cdef size_t size = sizeof(endpoint)
    cdef int linger = 0
    if ending is NULL:
        return
    if handle.traits & SENDS:
        endpoint[0] = 0
        <void> zmq_getsockopt(handle.socket, ZMQ_LAST_ENDPOINT, endpoint, &size)
        snprintf(ending.last, sizeof(ending.last), b"%s %s", type_of(handle.type).name, endpoint)
    if handle.linger_set and ending.linger != FOREVER:  # which is honoured to the letter
        size = sizeof(int)
        <void> zmq_getsockopt(handle.socket, ZMQ_LINGER, &linger, &size)
        ending.linger = FOREVER if linger == FOREVER else max(ending.linger, <nsec> linger * 1000000)


cdef int end_within(Ending *ending, long long microseconds) noexcept nogil:
    """Wait for the end of a context that has begun. Return 0, or EINTR: look for signals, and at the time."""
    if PyThread_acquire_lock_timed(ending.done, microseconds, 1) != PY_LOCK_ACQUIRED:
        return EINTR
    PyThread_release_lock(ending.done)
    return 0


def read_exit_linger():
    """Take note of `zmqcy.exit_linger`, while there is still a Python to read it."""
    global exit_linger
    limit = to_milliseconds(_library.settings.get("exit_linger", 10000), "exit_linger")
    exit_linger = FOREVER if limit == FOREVER else <nsec> (min(limit, 1e12) * 1000000)


if at_fork(after_fork_in_child) or Py_AtExit(end_process) < 0:
    raise ImportError("zmqcy: the handlers for fork and exit could not be registered")
atexit.register(read_exit_linger)
