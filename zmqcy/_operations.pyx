"""Asynchronous operations that wait, and the queues of sockets in which they wait.

An operation that would block is an `Operation`, a future, in a queue of its socket. The socket's file descriptor is
edge-triggered: it reports only that something has happened since the last call. Any call on the socket, also the read
of an option, may consume this event. So while operations wait, the socket is WATCHED, and each call schedules `look`.
`look` reads ZMQ_EVENTS and lets the head of each queue continue.

No message is lost by cancellation or timeouts. A task that awaits an operation is only woken. It receives the message
in its own step, so a task that was cancelled or timed out meanwhile has received nothing. An operation that is used as
a future (`gather`, `wait`, callbacks) is carried out by `look`, and keeps its result. Once it has one, it cannot be
cancelled. An operation that is no longer referenced leaves its queue, and has done nothing.

If an answer is likely soon, a waiting socket calls `look` in each event-loop iteration for up to its `spin`. That keeps
the thread awake: waking a sleeping thread costs more than a round trip.
"""

cimport cython
from cython cimport critical_section
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport ENOTSOCK

from zmqcy._base cimport NativeSocket, enter
from zmqcy._context cimport Context
from zmqcy._core cimport (
    ONE_EACH, PROBE, deadline_of, fetch, fetch_into, fetch_multipart_into, gather, put_parts, to_messages,
    would_block)
from zmqcy._handle cimport (
    BUSY, CLOSED, FORKED, WATCHED, alive, count, events_of, insert, lock_lists, reference_to, remove,
    unlock_lists)
from zmqcy._library cimport EXPIRED, FOREVER, deadline_after, error, interrupted, to_flags
from zmqcy._loop cimport (
    PYGEN_NEXT, PYGEN_RETURN, Done, Loop, call_soon, current_loop, define_future, event_loop, finished, loop_of)
from zmqcy._message cimport new_tracker
from zmqcy._options cimport lock_at, lock_of
from zmqcy._system cimport drain, now, nsec, yield_processor
from zmqcy.libzmq cimport (
    ZMQ_DONTWAIT, ZMQ_EVENT_MONITOR_STOPPED, ZMQ_LINGER, ZMQ_PAIR, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_RCVTIMEO,
    ZMQ_SNDTIMEO)

import weakref

from zmqcy import errors

cdef str WAS_CLOSED = "the socket was closed"

cdef enum:
    # Results of `serve`.
    TRIED = 1  # the operation was tried, and still waits
    GONE = 2   # the operation has left its queue

cdef enum:
    TURNS = 64         # max rounds of `look` in an event-loop iteration
    FUTILE = 3         # max rounds in which the socket reports ready but no operation succeeds
    SHORT_WAIT = 4     # times `spin`: after a wait up to this long, the next one spins
    LONGEST_LEAVE = 1  # max seconds that another thread waits until the loop has stopped watching a socket

cdef double RETRY = 0.001  # seconds, doubled for each retry
cdef double LONGEST_RETRY = 0.064


cdef object to_exception(object type, object value):
    if isinstance(type, BaseException):
        return type
    return value if isinstance(value, BaseException) else type() if value is None else type(value)


# --------------------------------------------------------------------------------------------------- waiting operations

@cython.final
cdef class Waker:
    """The future that a task waits for while it awaits an operation. It has no result."""

    @property
    def _asyncio_future_blocking(self):
        return self.blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, blocking):
        self.blocking = blocking

    def get_loop(self):
        return event_loop(self.loop)

    def done(self):
        return self.callback is None

    def cancelled(self):
        return self.cancelled_by is not None

    def add_done_callback(self, fn, /, *, context=None):
        self.callback = fn
        self.context = context

    def cancel(self, msg=None):
        if self.callback is None:
            return False
        self.cancelled_by = (msg,)
        with critical_section(lock_at(<PyObject *> self.socket)):
            operation = None if self.operation is NULL else operation_at(self.operation)
            if operation is not None:
                (<Operation> operation).settle(CANCELLED, msg)
            self.wake(False)
        return True

    def result(self):
        if self.cancelled_by is not None:
            raise cancelled_error(self.cancelled_by[0])

    cdef int wake(self, bint at_once) except -1:
        """Wake the task: in the next event-loop iteration or, if `at_once` and no other task runs, now."""
        with critical_section(lock_at(<PyObject *> self.socket)):
            callback, context = self.callback, self.context
            self.callback = self.context = None
        if callback is None:
            pass
        elif at_once and context is not None:
            context.run(callback, self)
        else:
            event_loop(self.loop).call_soon(callback, self, context=context)
        return 0


cdef object cancelled_error(object message):
    from asyncio import CancelledError
    return CancelledError() if message is None else CancelledError(message)


cdef inline void append(Node *queue, Node *node) noexcept:
    node.previous = queue.previous
    node.following = queue
    queue.previous.following = node
    queue.previous = node


cdef inline void unlink(Node *node) noexcept:
    if node.following is not NULL:
        node.previous.following = node.following
        node.following.previous = node.previous
        node.previous = node.following = NULL


cdef list operations_of(Node *ring):
    cdef list found = []
    cdef Node *node = ring.following
    while node is not ring:
        operation = operation_at(node)
        if operation is not None:
            found.append(operation)
        node = node.following
    return found


cdef Operation operation_at(Node *node):
    """Return the operation of a node, or None if it is being freed. Call it in the socket's critical section."""
    return alive(node.owner, node.reference)


def _expire(reference):
    operation = reference()
    if operation is not None:
        operation._expire()


def _try_unless_awaited(reference):
    """Continue an operation after an event-loop iteration if no task awaits it."""
    cdef Operation operation = reference()
    if operation is None:
        return
    with critical_section(lock_at(<PyObject *> operation.socket)):
        if operation.state == YIELDING and not operation.awaited:
            operation.go_on(operation.node.previous.owner is NULL)


#: _T_co = TypeVar("_T_co", covariant=True)
#: @disjoint_base
#: class Operation(_Future[_T_co]):
#:     @property
#:     def seconds(self) -> float | None: ...
@cython.no_gc_clear  # its node is in the socket, which it references until it has left the queue
cdef class Operation:  # no freelist: Python does not call __del__ again for a reused object
    """The future of an operation that waits in a socket's queue. If it is cancelled, nothing was sent or received."""

    def __dealloc__(self):
        if self.socket is not None:
            with critical_section(lock_at(<PyObject *> self.socket)):
                if self.waker is not None and type(self.waker) is Waker:
                    (<Waker> self.waker).operation = NULL
                if NEW < self.state < FINISHED:
                    try:
                        self.leave(CANCELLED)
                    except Exception:  # the interpreter is shutting down, and has cleared the loop or the types
                        pass
        Py_XDECREF(self.node.reference)

    def __del__(self):
        if self.state == FAILED and not self.noticed and self.loop is not None:
            self.noticed = True
            self.loop.loop.call_exception_handler({
                "message": f"{self.call}: the exception of the operation was never retrieved",
                "exception": self.value, "future": self})

    cdef bint attempt(self) except -1:
        """Try without blocking. Return whether the operation has completed; then `value` is the result."""
        raise NotImplementedError

    cdef nsec deadline(self) except -2:
        """Return the deadline."""
        if self.flags & ZMQ_DONTWAIT:
            return EXPIRED
        return deadline_of(self.socket, self.timeout, ZMQ_SNDTIMEO if type(self) is Send else ZMQ_RCVTIMEO, self.call)

    cdef int give_up(self) except -1:
        """Fail because the operation has timed out or may not wait."""
        would_block(self.socket, 0, 0 if self.flags & ZMQ_DONTWAIT else self.start, self.call)

    cdef int release(self) except -1:
        """Release the caller's arguments after the end of the operation."""
        return 0

    cdef int note_sent(self, object exception, Py_ssize_t more) except -1:
        """Set `sent` of an exception: the messages of a batch sent so far, and `more`."""
        return 0

    cdef object exception_of(self):
        self.noticed = True
        return self.value

    cdef int go_on(self, bint first) except -1:
        """Try if it is the head of its queue. End if it completes or fails, otherwise continue to wait if it may."""
        try:
            if first and self.attempt():
                self.settle(FINISHED, self.value)
            elif self.expired:
                self.give_up()
            elif self.state == YIELDING:
                if self.socket.handle.state & CLOSED:  # closed during the event-loop iteration
                    raise error(ENOTSOCK, self.call, self.socket.handle.type, None, WAS_CLOSED)
                self.wait()
        except Exception as exception:
            self.settle(FAILED, exception)
        return 0

    cdef int wait(self) except -1:
        """Begin to wait in the queue: start the timer, and watch the file descriptor."""
        cdef QueuedSocket socket = self.socket
        cdef nsec deadline = self.deadline()
        if self.timeout is not None and type(self.timeout) is not int and type(self.timeout) is not float:
            # Converting the timeout may have run any code: it may have ended the operation or closed the socket.
            if self.state >= FINISHED:
                return 0
            enter(socket, self.call)
            socket.soon()  # that code may have consumed the event of the file descriptor
        self.start = now()
        if deadline == EXPIRED:
            return self.give_up()
        self.state = WAITING
        if deadline != FOREVER:
            self.seconds = max(0, deadline - now()) / 1e9
            if self.loop is not None:
                self.timer = self.loop.loop.call_later(self.seconds, _expire, weakref.ref(self))
        count(socket.handle.exclusive, &socket.handle.stats.waits, 1)
        socket.start_watching()
        self.hopeful = socket.handle.asked and type(self) is not Send
        if self.hopeful and socket.handle.eager:
            socket.spin_soon()
        return 0

    def _expire(self):
        with critical_section(lock_at(<PyObject *> self.socket)):
            self.expired = True
            if self.state == YIELDING or self.state == WAITING:  # otherwise its task will still try
                self.go_on(False)

    cdef int leave(self, State state) except -1:
        """Leave the queue, and let the next operation continue."""
        cdef QueuedSocket socket = self.socket
        cdef bint passed_over = self.state != WAITING  # `look` has skipped it and the operations behind it
        self.state = state
        if self.hopeful:
            socket.handle.eager = now() - self.start < SHORT_WAIT * socket.handle.spin
        unlink(&self.node)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if socket.looking:
            pass
        elif socket.idle():
            socket.sweep_soon()
        elif passed_over:
            socket.soon()
        return 0

    cdef int settle(self, State state, object value) except -1:
        """End the operation: leave the queue, wake the waiting task, and schedule the callbacks."""
        cdef list callbacks = self.callbacks
        if state == FAILED:
            self.note_sent(value, getattr(value, "sent", 0))
        self.value = value
        self.leave(state)
        self.release()
        if self.waker is not None:
            if type(self.waker) is Waker:
                (<Waker> self.waker).wake(False)
            else:
                self.waker()
        self.socket.kept.discard(self)
        if callbacks is not None:
            self.callbacks = None
            for callback, context in callbacks:
                event_loop(self.loop).call_soon(callback, self, context=context)
        return 0

    cdef bint step(self) except -1:
        """Continue in the task that awaits it. Return whether the operation has ended."""
        if self.state == WOKEN:
            self.state = WAITING if self.start else YIELDING
            self.go_on(self.node.previous.owner is NULL)
        return self.state >= FINISHED

    cdef object outcome(self):
        if self.state == FINISHED:
            return self.value
        if self.state == CANCELLED:
            raise self._make_cancelled_error()
        raise self.exception_of()

    # ---- as a future

    @property
    def _asyncio_future_blocking(self):
        return False

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, blocking):
        pass

    def done(self):
        """Return whether the operation has ended."""
        return self.state >= FINISHED

    def cancelled(self):
        """Return whether the operation was cancelled."""
        return self.state == CANCELLED

    def cancel(self, msg=None):
        """Cancel the operation unless it has ended. Return whether it was cancelled.

        A cancelled operation has sent and received nothing. Of a cancelled batch, `sent` messages were sent.
        """
        with critical_section(lock_at(<PyObject *> self.socket)):
            if self.state >= FINISHED:
                return False
            self.settle(CANCELLED, msg)
            return True

    @property
    def _cancel_message(self):
        return self.value if self.state == CANCELLED else None

    def _make_cancelled_error(self):  # asyncio.gather calls it
        exception = cancelled_error(self._cancel_message)
        self.note_sent(exception, 0)
        return exception

    def result(self):
        """Return the result, or raise the exception of the operation."""
        if self.state < FINISHED:
            from asyncio import InvalidStateError
            raise InvalidStateError(f"{self.call}: the operation has not ended; await it first")
        return self.outcome()

    def exception(self):
        """Return the exception of the operation, or None."""
        if self.state == FAILED:
            return self.exception_of()
        self.result()

    def get_loop(self):
        """Return the event loop of the operation."""
        return event_loop(self.loop)

    def add_done_callback(self, fn, /, *, context=None):
        """Call a function with this object, in the event loop, when the operation has ended."""
        loop = event_loop(self.loop)
        if context is None:
            from contextvars import copy_context
            context = copy_context()
        with critical_section(lock_at(<PyObject *> self.socket)):
            if self.state >= FINISHED:
                loop.call_soon(fn, self, context=context)
                return
            if self.callbacks is None:
                self.callbacks = []
                self.socket.kept.add(self)
            self.callbacks.append((fn, context))

    def remove_done_callback(self, fn, /):
        """Remove a callback. Return how many times it was registered."""
        with critical_section(lock_at(<PyObject *> self.socket)):
            if self.callbacks is None:
                return 0
            kept = [each for each in self.callbacks if each[0] != fn]
            removed = len(self.callbacks) - len(kept)
            self.callbacks = kept or None
            if not kept and not (self.socket.keen and type(self) is Send):
                self.socket.kept.discard(self)
            return removed

    def __await__(self):
        if self.awaited and self.state < FINISHED:  # another task awaits it, and will take the result
            future = event_loop(self.loop).create_future()
            self.add_done_callback(lambda operation: copy_outcome(operation, future))
            return future.__await__()
        self.awaited = True
        return self

    def __iter__(self):
        return self.__await__()

    def __next__(self):
        raise NotImplementedError  # see define_future

    def throw(self, type, value=None, traceback=None):
        """Handle an exception in the task that awaits the operation, such as its cancellation."""
        exception = to_exception(type, value)
        self.note_sent(exception, 0)
        self.close()
        raise exception

    def close(self):
        """Handle the end of the coroutine that awaits the operation."""
        with critical_section(lock_at(<PyObject *> self.socket)):
            self.noticed = True
            if self.state < FINISHED:
                self.settle(CANCELLED, None)

    def __repr__(self):
        state = {FINISHED: "done", FAILED: "failed", CANCELLED: "cancelled"}.get(self.state, "pending")
        return f"<Operation {self.call} {state}>"

    # ---- for event loops other than asyncio

    def _wait_by(self, waker):
        """Call a function when the operation can continue or has ended."""
        with critical_section(lock_at(<PyObject *> self.socket)):
            self.awaited = True
            self.waker = waker
            if self.state == WOKEN:
                waker()

    def _step(self, bint turned=False):
        """Continue in the waiting task. Return whether it has ended. `turned`: the event loop has had an iteration."""
        with critical_section(lock_at(<PyObject *> self.socket)):
            if turned and self.state < FINISHED:
                self.state = WOKEN
            return self.step()

    @property
    def _yielding(self):
        return self.state == YIELDING


#: @final
#: class Send(Operation[_T_co]):
#:     @property
#:     def sent(self) -> int: ...
@cython.final
@cython.no_gc_clear
cdef class Send(Operation):
    """Send a message or a batch.

    Attributes
    ----------
    sent : int
        The number of messages of a batch that were sent so far.
    """

    cdef bint attempt(self) except -1:
        cdef Py_ssize_t gone, sent = put_parts(
            self.socket, self.parts, self.ends, self.flags | ZMQ_DONTWAIT | PROBE, self.copy, self.tracker, None,
            self.call)
        if sent == 0:
            return False
        self.sent += sent
        if self.ends is None:
            if self.tracker is not None:
                self.tracker.seal()
            self.value = self.tracker
            return True
        gone = sent if self.ends is ONE_EACH else sum(self.ends[:sent])
        if gone == len(self.parts):
            self.value = self.sent
            return True
        del self.parts[:gone]
        if self.ends is not ONE_EACH:
            del self.ends[:sent]
        return False

    cdef int give_up(self) except -1:
        return self.settle(FINISHED, self.sent) if self.sent else Operation.give_up(self)

    cdef int release(self) except -1:
        self.parts = None
        return 0

    cdef int note_sent(self, object exception, Py_ssize_t more) except -1:
        if self.ends is not None:
            exception.sent = self.sent + more
        return 0


#: @final
#: class Receive(Operation[_T_co]): ...
@cython.final
@cython.no_gc_clear
cdef class Receive(Operation):
    """Receive one part."""

    cdef bint attempt(self) except -1:
        self.value = fetch(self.socket, self.flags | ZMQ_DONTWAIT | PROBE, self.copy, None, self.call)
        return self.value is not None

    cdef object exception_of(self):
        self.noticed = True
        if self.ends_loop and isinstance(self.value, errors.ContextTerminated):
            return StopAsyncIteration()
        return self.value


#: @final
#: class ReceiveInto(Operation[_T_co]): ...
@cython.final
@cython.no_gc_clear
cdef class ReceiveInto(Operation):
    """Receive one part into a buffer."""

    cdef bint attempt(self) except -1:
        self.value = fetch_into(
            self.socket, self.target, self.room, self.flags | ZMQ_DONTWAIT | PROBE, None, self.call)
        return self.value is not None

    cdef int release(self) except -1:
        self.target = None
        return 0


#: @final
#: class Gather(Operation[_T_co]): ...
@cython.final
@cython.no_gc_clear
cdef class Gather(Operation):
    """Receive a whole message, or a batch."""

    cdef bint attempt(self) except -1:
        self.value = gather(self.socket, self.wanted, self.flags | ZMQ_DONTWAIT | PROBE, None, self.call)
        return self.value is not None


#: @final
#: class GatherInto(Operation[_T_co]): ...
@cython.final
@cython.no_gc_clear
cdef class GatherInto(Operation):
    """Receive a whole message, each part into a buffer."""

    cdef bint attempt(self) except -1:
        self.value = fetch_multipart_into(
            self.socket, self.targets, self.flags | ZMQ_DONTWAIT | PROBE, None, self.call)
        return self.value is not None

    cdef int release(self) except -1:
        self.targets = None
        return 0


#: @final
#: class Poll(Operation[_T_co]): ...
@cython.final
cdef class Poll(Operation):
    """Wait for the events in `flags`."""

    cdef bint attempt(self) except -1:
        cdef int events = self.socket.current_events(self.call) & self.flags
        self.value = events
        return events != 0

    cdef nsec deadline(self) except -2:
        return deadline_after(self.timeout, self.call)

    cdef int give_up(self) except -1:
        return self.settle(FINISHED, 0)


cdef int send_to_operation(PyObject *itself, PyObject *value, PyObject **result) except -1:
    cdef Operation operation = <Operation> itself
    cdef object given
    cdef Waker waker
    cdef int how = PYGEN_NEXT
    with critical_section(lock_at(<PyObject *> operation.socket)):
        if operation.step():
            given = operation.outcome()
            how = PYGEN_RETURN
        elif operation.state == YIELDING:
            operation.state = WOKEN
            given = None  # the task continues in the next event-loop iteration
        else:
            waker = operation.waker
            if waker is None:
                waker = Waker.__new__(Waker)
                waker.loop = operation.loop
                waker.socket = operation.socket
                waker.operation = &operation.node
                operation.waker = waker
            if waker.blocking:  # a task resets it, but list(operation) would loop endlessly, without signals
                raise RuntimeError(f"{operation.call}: the operation was iterated over; use await")
            waker.blocking = True
            given = waker
    Py_INCREF(given)
    result[0] = <PyObject *> given
    return how


cdef int copy_outcome(Operation operation, object future) except -1:
    if future.done():
        pass
    elif operation.state == FINISHED:
        future.set_result(operation.value)
    elif operation.state == CANCELLED:
        future.cancel()
    else:
        future.set_exception(operation.exception_of())
    return 0


cdef object kind
for kind in (Operation, Send, Receive, ReceiveInto, Gather, GatherInto, Poll):
    define_future(kind, send_to_operation)
define_future(Waker, NULL)


# -------------------------------------------------------------------------------------------------------- the sockets

cdef void touched(object socket) noexcept:
    """Note that a call is about to use a socket for which operations wait."""
    if not (<QueuedSocket> socket).looking and not (<QueuedSocket> socket).idle():
        (<QueuedSocket> socket).soon()


#: @disjoint_base
#: class QueuedSocket(NativeSocket): ...
@cython.no_gc_clear  # its fields must stay valid until it is no longer watched
cdef class QueuedSocket(NativeSocket):
    """The asynchronous part of a socket: its queues, and the watch of its file descriptor."""

    def __cinit__(self):
        self.receivers.previous = self.receivers.following = &self.receivers
        self.senders.previous = self.senders.following = &self.senders
        self.polls.previous = self.polls.following = &self.polls
        self.watch.tell = touched
        self.watch.epoll = -1
        self.watch.of_socket.owner = &self.watch
        self.watch.listener = <PyObject *> self
        self.kept = set()
        self.patience = RETRY
        self.foreign = type(self)._foreign
        self.keen = type(self)._keen

    _foreign = False
    _keen = False

    def __dealloc__(self):
        lock_lists()
        remove(&self.watch.of_socket)
        unlock_lists()

    cdef int arrive_slowly(self, str call) except -1:
        cdef PyObject *sign
        running = current_loop()
        if running is None:
            raise RuntimeError(f"{call}: no event loop runs in this thread; use a coroutine, or zmqcy.Socket")
        if self.loop is None or running is not self.loop.loop:
            if self.loop is not None:
                if not self.loop.loop.is_closed():
                    raise RuntimeError(
                        f"{call}: the socket belongs to another event loop, which is not closed; use a socket per loop")
                self.abandon()
            self.loop = loop_of(running)
        sign = sign_of_loop()
        if sign is not NULL:
            self.loop.sign = <object> sign
        if self.handle.networked:
            self.attend()
        return 0

    cdef int attend(self) except -1:
        cdef object running = None if self.handle.foreign else self._event_loop()
        if running is not None and (self.attendant is None or self.attendant.loop is not running):
            self.attendant = loop_of(running)
            self.attendant.attend(self)
        return 0

    def _attended_by(self, Loop loop):
        """Read the events, unless the file descriptor is watched. Return whether this loop must read them again."""
        with critical_section(lock_of(self)):
            if self.attendant is not loop or self.handle.state & (CLOSED | FORKED):
                return False
            if self.idle():
                self.catch_up()
            return True

    def _event_loop(self):
        """Return an object with the `call_later` of the running event loop. None: no loop runs in this thread."""
        return current_loop()

    cdef int abandon(self) except -1:
        """Remove the operations of a closed loop."""
        self.loop = None
        self.watching = self.look_due = self.sweep_due = self.spinning = False
        for operation in list(self.kept):
            (<Operation> operation).callbacks = None
        self.kept.clear()
        self.end_all(0, None)
        return 0

    cdef object failed(self, Exception exception):
        """Return a failed future of the running loop. If the socket has no asyncio loop, raise the exception."""
        if self.foreign or self.loop is None or current_loop() is not self.loop.loop:
            raise exception
        future = self.loop.loop.create_future()
        future.set_exception(exception)
        return future

    # ---- waiting

    cdef bint idle(self) noexcept:
        return is_empty(&self.receivers) and is_empty(&self.senders) and is_empty(&self.polls)

    def _waiting(self):
        """Return the operations that wait to receive or for events."""
        with critical_section(lock_of(self)):
            return operations_of(&self.receivers) + operations_of(&self.polls)

    cdef list operations(self):
        return operations_of(&self.receivers) + operations_of(&self.senders) + operations_of(&self.polls)

    cdef object begin(self, Operation operation, Node *queue, object timeout, bint yielding):
        """Append an operation that cannot complete now to its queue."""
        operation.socket = self
        operation.loop = self.loop
        operation.timeout = timeout
        operation.node.owner = <PyObject *> operation
        operation.node.reference = reference_to(operation)
        operation.awaited = self.foreign
        if yielding:
            operation.state = YIELDING
        else:
            operation.wait()
        if operation.state < FINISHED:
            append(queue, &operation.node)
            if self.keen and queue is &self.senders:
                self.kept.add(operation)
            if yielding and not self.foreign:
                self.loop.after_turn.append((_try_unless_awaited, weakref.ref(operation)))
        return operation

    cdef int start_watching(self) except -1:
        if self.handle.fd < 0 and self.handle.signaler.poller is NULL:
            self.descriptor("fileno")
            self.soon()  # earlier events were not reported by the new file descriptor
        if self.watch.of_socket.place is NULL:
            self.watch.reference = self.user.reference
            lock_lists()
            insert(&self.watch.of_socket, &self.handle.watches)
            unlock_lists()
        self.mark()
        if not self.watching and not self.foreign:
            self.loop.add_reader(self.descriptor("fileno"), self._ready)
            self.watching = True
        return 0

    cdef void mark(self) noexcept:
        """Mark the socket as WATCHED, so that each call on it schedules `look`."""
        self.handle.state |= WATCHED

    cdef int stop_watching(self) except -1:
        if self.watching:
            self.watching = False
            self.loop.remove_reader(self.descriptor("fileno"), self._ready)
        return 0

    cdef int sweep_soon(self) except -1:
        """Stop watching the file descriptor soon, unless an operation waits again by then."""
        if self.watching and not self.sweep_due and not self.loop.loop.is_closed():
            self.sweep_due = True
            call_soon(self.loop.loop, self._sweep)
        return 0

    def _sweep(self):
        with critical_section(lock_of(self)):
            self.sweep_due = False
            if self.idle():
                self.stop_watching()

    cdef int soon(self) except -1:
        """Schedule `look` for the next event-loop iteration."""
        if self.look_due:
            pass
        elif self.schedule is not None:
            self.look_due = True
            try:
                self.schedule(self._look)
            except RuntimeError:  # the event loop has ended
                self.look_due = False
        elif self.loop is not None:
            self.look_due = True
            call_soon(self.loop.loop, self._look)
        return 0

    cdef int spin_soon(self) except -1:
        """Call `look` in each event-loop iteration for up to `spin`: an answer may arrive soon."""
        if self.handle.spin == 0 or self.loop is None:
            return 0
        self.spin_until = now() + self.handle.spin
        if not self.spinning:
            self.spinning = True
            self.loop.loop.call_soon(self._spin)
        return 0

    def _spin(self):
        with critical_section(lock_of(self)):
            self.spinning = False
        self.look()
        with critical_section(lock_of(self)):
            if not self.spinning and not self.idle() and now() < self.spin_until:
                yield_processor()
                self.spinning = True
                self.loop.loop.call_soon(self._spin)

    def _look(self):
        with critical_section(lock_of(self)):
            self.look_due = False
        self.look()

    def _ready(self):
        self.look()

    cdef bint look_once(self, int *turns, int *events) except -1:
        """Read the events. Return whether waiting operations may continue."""
        cdef int number
        events[0] = 0
        if self.idle() or self.handle.state & FORKED:
            return False
        if self.handle.state & CLOSED:  # an operation was queued while another thread closed the socket
            self._let_go()
            return False
        turns[0] += 1
        if self.handle.state & BUSY or turns[0] > TURNS:  # another thread uses the socket, or other tasks must run
            self.soon()
            return False
        if self.handle.state & WATCHED and self.handle.remembered < 0:  # pollers must know that the events are read
            self.handle.forget()
            if self.handle.state & (BUSY | CLOSED | FORKED):  # their callbacks may have let another thread run
                return self.look_once(turns, events)
        if self.handle.signaler.poller is not NULL:
            drain(self.handle.signaler.fd)
        number = events_of(self.handle.socket, events)
        if interrupted(number):
            return self.look_once(turns, events)
        if number:
            self.end_all(number, None)
            return False
        if self.handle.remembered >= 0 and events[0] != self.handle.remembered:  # else two watchers wake each other
            self.handle.forget()
        if self.handle.held is not NULL:
            events[0] |= ZMQ_POLLIN
        return True

    cdef int look(self) except -1:
        """Let waiting operations continue, or end all of them if the socket has failed.

        A task that is woken at once runs its own code here, so this is not in the critical section of the socket.
        """
        cdef int events = 0, turns = 0, futile = 0, served
        cdef bint going, known = False
        with critical_section(lock_of(self)):
            if self.looking:
                return 0
            self.looking = True
        try:
            while True:
                with critical_section(lock_of(self)):
                    going = self.look_once(&turns, &events)
                    if going:
                        self.serve_polls(events)
                if not going:
                    break
                served = 0
                if events & ZMQ_POLLIN:
                    served |= self.serve(&self.receivers)
                if events & ZMQ_POLLOUT:
                    served |= self.serve(&self.senders)
                if served & GONE:
                    futile = 0
                    self.patience = RETRY
                elif served == 0:
                    known = True
                    break
                else:  # the failed attempt may have changed the events that others wait for
                    futile += 1
                    if futile == FUTILE:  # a ROUTER with router_mandatory is always ready, also if one peer is full
                        self.patience = min(2 * self.patience, LONGEST_RETRY)
                        if self.loop is not None:
                            self.loop.loop.call_later(self.patience, self._look)
                        break
        except BaseException:
            self.soon()  # the other operations must continue
            raise
        finally:
            with critical_section(lock_of(self)):
                self.looking = False
                if self.idle():
                    self.sweep_soon()
                else:
                    self.mark()
                    if known and self.handle.remembered < 0 and self.handle.held is NULL:
                        self.handle.remembered = events
        return 0

    cdef int serve(self, Node *queue) except -1:
        """Let the head of a queue continue. Return GONE, TRIED, or 0 if it was not tried."""
        cdef Operation operation
        cdef Waker waker = None
        with critical_section(lock_of(self)):
            if is_empty(queue):
                return 0
            operation = operation_at(queue.following)
            if operation is None:
                self.soon()
                return 0
            if operation.state != WAITING:
                return 0
            if operation.waker is None or operation.callbacks is not None:
                operation.go_on(True)
            else:
                operation.state = WOKEN
                if type(operation.waker) is not Waker:
                    operation.waker()
                    return 0
                waker = operation.waker
        if waker is not None:
            waker.wake(True)
        with critical_section(lock_of(self)):
            if operation.state == WOKEN:  # its task was cancelled, and will leave the queue in its next step
                return 0
            return TRIED if operation.state < FINISHED else GONE

    cdef int serve_polls(self, int events) except -1:
        """Complete the polls that wait for one of these events."""
        cdef Operation operation
        cdef Node *node = self.polls.following
        while node is not &self.polls:
            operation = operation_at(node)
            node = node.following
            if operation is not None and events & operation.flags:
                operation.settle(FINISHED, events & operation.flags)
        return 0

    cdef int end_all(self, int number, str text) except -1:
        """End all waiting operations with an errno. 0: cancel them silently."""
        cdef Operation operation
        for operation in self.operations():
            if operation.state >= FINISHED:  # a callback of another operation has ended it
                continue
            if number:
                operation.settle(FAILED, error(number, operation.call, self.handle.type, None, text))
            else:
                operation.leave(CANCELLED)
        return 0

    def _closing(self):
        cdef object loop = None if self.loop is None else self.loop.loop
        self._leave()
        if loop is not None and loop.is_closed():
            self.abandon()
        elif loop is not None and loop.is_running() and current_loop() is not loop:
            if self.watching or not self.idle():
                self.leave_from_outside(loop)
        self._let_go()

    def _end_of(self, cls, linger):
        """Close the socket. Return a socket that receives a message when all messages are sent, or None."""
        cdef QueuedSocket end = None
        cdef bytes endpoint
        cdef Context context = self.owner
        with critical_section(lock_of(self)):
            # Over inproc the peer has all messages at once, but it may never process the end of the connection.
            if self.handle.context is None or not self.handle.networked or self.handle.state & (CLOSED | FORKED):
                self.close(linger)
                return None
            try:
                if linger is not None:
                    self.set_option(ZMQ_LINGER, linger, "close")
            except errors.ContextTerminated:
                self.close()
                return None
            endpoint = f"inproc://zmqcy.end.{<size_t> self.handle.socket}.{now()}".encode()
            try:
                if context is None:
                    context = Context.shadow(<size_t> self.handle.ending.handle)
                end = cls(context, ZMQ_PAIR)
                end.connect(endpoint)
                self._monitor(endpoint, ZMQ_EVENT_MONITOR_STOPPED, None)
            except errors.ZMQError:  # the context has ended, or allows no more sockets
                if end is not None:
                    end.close(0)
                    end = None
            self.close()
            return end

    def _keep_end(self, end):
        self.handle.context.keep_end(end)

    # ---- for event loops other than asyncio

    def _take_home(self, schedule, Operation operation):
        """Use `schedule`, a thread-safe function of the event loop, to schedule `_look`."""
        cdef Node node
        with critical_section(lock_of(self)):
            node = operation.node
            unlink(&operation.node)
            others = not self.idle()
            if node.following is not NULL:
                operation.node = node
                node.previous.following = node.following.previous = &operation.node
            if others and self.schedule is not None:
                raise RuntimeError(
                    f"{operation.call}: tasks of another event loop wait for the socket; use a socket per loop")
            self.schedule = schedule
            self.look_due = False
            if self.handle.networked:
                self.attend()

    def _wake_another(self, Operation operation):
        """Wake another waiting task, which must watch the file descriptor now."""
        cdef Operation other
        with critical_section(lock_of(self)):
            for other in self.operations():
                if other is not operation and other.waker is not None:
                    other.waker()
                    return

    def _let_go(self):
        """End all waiting operations, and stop watching the file descriptor, which will be closed."""
        with critical_section(lock_of(self)):
            self.end_all(ENOTSOCK, WAS_CLOSED)
            self.stop_watching()

    cdef int leave_from_outside(self, object loop) except -1:
        """Wait until the loop, which runs in another thread, has stopped watching the socket."""
        from threading import Event
        left = Event()

        def leave():
            self._let_go()
            left.set()

        loop.call_soon_threadsafe(leave)
        left.wait(LONGEST_LEAVE)
        return 0

    # ---- operations

    cdef object put(
            self, list parts, list ends, object flags, object copy, object track, object timeout, str call,
            bint yielding):
        """Send the messages at once, or begin to wait."""
        cdef Send operation = Send.__new__(Send)
        operation.call = call
        operation.parts = parts
        operation.ends = ends
        operation.copy = copy
        operation.tracker = new_tracker() if track else None
        operation.flags = to_flags(flags, call)
        try:
            if not yielding and is_empty(&self.senders):
                operation.socket = self
                if operation.attempt():
                    return finished(self.loop, operation.value)
            return self.begin(operation, &self.senders, timeout, yielding)
        except BaseException as exception:
            operation.note_sent(exception, getattr(exception, "sent", 0))
            raise

    cdef object put_many(self, object messages, bint nested, object flags, object timeout, str call):
        cdef list ends = [] if nested else ONE_EACH
        try:
            arrive(self, call)
            try:
                parts = to_messages(messages, nested, flags, call, ends)
                if not parts:
                    self.current_events(call)  # raises if the socket is closed or its context has ended
                    return finished(self.loop, 0)
            except Exception as exception:
                exception.sent = 0
                raise
            return self.put(parts, ends, flags, None, False, timeout, call, due(self))
        except Exception as exception:
            return self.failed(exception)

    cdef object await_part(self, int flags, object copy, object timeout, bint yielding):
        cdef Receive operation = Receive.__new__(Receive)
        operation.call = "recv"
        operation.flags = flags
        operation.copy = copy
        return self.begin(operation, &self.receivers, timeout, yielding)

    cdef object take_into(self, object target, size_t room, object flags, object timeout):
        """Receive a queued part, or begin to wait for one."""
        cdef ReceiveInto operation
        cdef object size
        cdef int f = to_flags(flags, "recv_into")
        cdef bint yielding = due(self)
        if not yielding and is_empty(&self.receivers):
            size = fetch_into(self, target, room, f | ZMQ_DONTWAIT | PROBE, None, "recv_into")
            if size is not None:
                return finished(self.loop, size)
        operation = ReceiveInto.__new__(ReceiveInto)
        operation.call = "recv_into"
        operation.flags = f
        operation.target = target
        operation.room = room
        return self.begin(operation, &self.receivers, timeout, yielding)

    cdef object take_messages(self, Wanted wanted, object flags, object timeout, str call):
        """Receive queued messages, or begin to wait for one."""
        cdef Gather operation
        cdef list messages
        cdef int f = to_flags(flags, call)
        cdef bint yielding = due(self)
        if not yielding and is_empty(&self.receivers):
            messages = gather(self, wanted, f | ZMQ_DONTWAIT | PROBE, None, call)
            if messages is not None:
                return finished(self.loop, messages)
        operation = Gather.__new__(Gather)
        operation.call = call
        operation.flags = f
        operation.wanted = wanted
        return self.begin(operation, &self.receivers, timeout, yielding)

    cdef object take_parts_into(self, list targets, object flags, object timeout):
        """Receive a queued message, or begin to wait for one."""
        cdef GatherInto operation
        cdef list sizes
        cdef int f = to_flags(flags, "recv_multipart_into")
        cdef bint yielding = due(self)
        if not yielding and is_empty(&self.receivers):
            sizes = fetch_multipart_into(self, targets, f | ZMQ_DONTWAIT | PROBE, None, "recv_multipart_into")
            if sizes is not None:
                return finished(self.loop, sizes)
        operation = GatherInto.__new__(GatherInto)
        operation.call = "recv_multipart_into"
        operation.flags = f
        operation.targets = targets
        return self.begin(operation, &self.receivers, timeout, yielding)

    cdef object await_events(self, int wanted, object timeout, bint yielding):
        cdef Poll operation = Poll.__new__(Poll)
        operation.call = "poll"
        operation.flags = wanted
        return self.begin(operation, &self.polls, timeout, yielding)

    cdef object next_of(self, object operation):
        """Return the awaitable of `async for` for a receive: the end of the context ends the iteration."""
        if type(operation) is Receive:
            (<Receive> operation).ends_loop = True
        elif type(operation) is not Done and isinstance(operation.exception(), errors.ContextTerminated):
            return self.failed(StopAsyncIteration())
        return operation
