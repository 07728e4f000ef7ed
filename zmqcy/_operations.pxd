# Operations and their queues, for the calls that begin them.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from zmqcy._base cimport NativeSocket
from zmqcy._core cimport Wanted
from zmqcy._handle cimport Stats, Watch
from zmqcy._loop cimport Loop
from zmqcy._message cimport MessageTracker
from zmqcy._system cimport nsec

cdef extern from "Python.h":
    PyObject *PyThreadState_GetDict() noexcept
    PyObject *PyDict_GetItem(PyObject *dictionary, object key) noexcept

cdef enum State:
    # of an operation
    NEW       # it was tried once, perhaps, and is in no queue
    YIELDING  # in its queue: the loop shall turn before it is tried
    WAITING
    WOKEN     # its turn has come, and its task has not gone on yet
    FINISHED
    FAILED
    CANCELLED

cdef enum:
    # Work, as `work_since` counts it:
    FEW = 64            # after which it is worth asking for the time, and whether the loop has turned since
    FOREIGN_MOST = 256  # that may be done without a turn where to turn is the subclass's own doing


cdef struct Node:
    # A place in a queue: a ring that begins and ends with a node of no operation.
    Node *previous
    Node *following
    PyObject *owner        # the operation; it leaves the queue before it goes
    PyObject *reference    # to it; NULL with a GIL


cdef class Waker:
    cdef Node *operation   # its place; NULL once that is gone
    cdef QueuedSocket socket
    cdef Loop loop
    cdef object callback   # of the task; None: it does not wait, or was woken
    cdef object context
    cdef tuple cancelled_by  # the message of the cancellation
    cdef bint blocking

    cdef int wake(self, bint at_once) except -1


cdef class Operation:
    cdef object __weakref__
    cdef QueuedSocket socket
    cdef Loop loop         # in which it was made; None: it is none of asyncio
    cdef Node node
    cdef State state
    cdef object value      # the result, the exception, or the message of the cancellation
    cdef str call
    cdef int flags         # as the caller gave them
    cdef object timeout    # likewise
    cdef nsec start        # of the wait; 0: it has not begun
    cdef readonly object seconds   # that it may wait, or None
    cdef object timer
    cdef object waker      # what wakes the task that awaits it; None: nobody does
    cdef bint awaited
    cdef bint expired
    cdef bint hopeful      # it waits for an answer
    cdef bint noticed      # somebody knows of the exception
    cdef list callbacks

    cdef bint attempt(self) except -1
    cdef nsec deadline(self) except -2
    cdef int give_up(self) except -1
    cdef int release(self) except -1
    cdef int note_sent(self, object exception, Py_ssize_t more) except -1
    cdef object exception_of(self)
    cdef int go_on(self, bint first) except -1
    cdef int wait(self) except -1
    cdef int settle(self, State state, object value) except -1
    cdef int leave(self, State state) except -1
    cdef bint step(self) except -1
    cdef object outcome(self)


cdef class Send(Operation):
    cdef list parts
    cdef list ends         # where messages end, if there may be several
    cdef object copy
    cdef MessageTracker tracker
    cdef readonly Py_ssize_t sent


cdef class Receive(Operation):
    cdef object copy
    cdef bint ends_loop    # of `async for`: the end of the context is its end


cdef class ReceiveInto(Operation):
    cdef object target
    cdef size_t room


cdef class Gather(Operation):
    cdef Wanted wanted


cdef class GatherInto(Operation):
    cdef list targets


cdef class Poll(Operation):
    pass


cdef class QueuedSocket(NativeSocket):
    cdef Loop loop
    cdef Loop attendant    # which reads its events now and then
    cdef object schedule   # without a Loop: what has a function called soon
    cdef Node receivers
    cdef Node senders
    cdef Node polls
    cdef Watch watch
    cdef set kept          # operations that live by their callbacks alone
    cdef bint keen         # what it is to send goes, though nobody holds the future
    cdef bint foreign      # not of asyncio: the subclass waits in its own way
    cdef bint watching     # the loop watches the descriptor
    cdef bint looking
    cdef bint look_due
    cdef bint sweep_due
    cdef int count         # work since the last turn, where that is the subclass's own doing
    cdef uint64_t done     # work of all time, at the last look
    cdef bint spinning
    cdef nsec spin_until
    cdef double patience   # seconds until it looks again at what says that it is ready, and is not

    cdef int spin_soon(self) except -1
    cdef int arrive_slowly(self, str call) except -1
    cdef object failed(self, Exception exception)
    cdef object put(
        self, list parts, list ends, object flags, object copy, object track, object timeout, str call, bint yielding)
    cdef object await_part(self, int flags, object copy, object timeout, bint yielding)
    cdef object take_into(self, object target, size_t room, object flags, object timeout)
    cdef object take_messages(self, Wanted wanted, object flags, object timeout, str call)
    cdef object take_parts_into(self, list targets, object flags, object timeout)
    cdef object put_many(self, object messages, bint nested, object flags, object timeout, str call)
    cdef object begin(self, Operation operation, Node *queue, object timeout, bint yielding)
    cdef int soon(self) except -1
    cdef bint look_once(self, int *turns, int *events) except -1
    cdef int look(self) except -1
    cdef int serve(self, Node *queue) except -1
    cdef int serve_polls(self, int events) except -1
    cdef bint idle(self) noexcept
    cdef list operations(self)
    cdef int end_all(self, int number, str text) except -1
    cdef int leave_from_outside(self, object loop) except -1
    cdef int start_watching(self) except -1
    cdef void mark(self) noexcept
    cdef int stop_watching(self) except -1
    cdef int abandon(self) except -1
    cdef int sweep_soon(self) except -1
    cdef object await_events(self, int wanted, object timeout, bint yielding)
    cdef object next_of(self, object operation)


cdef inline bint is_empty(Node *queue) noexcept:
    return queue.following is queue


cdef inline PyObject *sign_of_loop() noexcept:
    # What asyncio leaves in the thread's state while a loop runs there, and nobody else: a look at it costs a tenth of
    # asking asyncio, which before Python 3.12 makes a system call. NULL where this asyncio leaves none.
    cdef PyObject *state = PyThreadState_GetDict()
    return NULL if state is NULL else PyDict_GetItem(state, "__asyncio_running_event_loop__")


cdef inline int arrive(QueuedSocket socket, str call) except -1:
    # The check before each operation: it is in the running loop, which is the socket's.
    cdef Loop loop = socket.loop
    cdef PyObject *sign
    if loop is not None:
        sign = sign_of_loop()
        if sign is not NULL and sign is <PyObject *> loop.sign:
            return 0
    return 0 if socket.foreign else socket.arrive_slowly(call)


cdef inline int work_since(QueuedSocket socket) noexcept:
    # Count 1 for an operation that begins, and 1 for each message and each 4 KiB that were moved since the one before.
    cdef Stats *stats = &socket.handle.stats
    cdef uint64_t before = socket.done
    socket.done = ((stats.messages_sent + stats.messages_received) << 12) + stats.bytes_sent + stats.bytes_received
    # Bounded, because a shadow begins with all that others have moved.
    return 1 + <int> min((socket.done - before) >> 12, <uint64_t> 1 << 20)


cdef inline bint due(QueuedSocket socket) except -1:
    # Tell whether the loop is to turn before the next operation.
    cdef Loop loop = socket.loop
    if loop is None:
        socket.count += work_since(socket)
        if socket.count < FOREIGN_MOST:
            return False
        socket.count = 0
        return True
    loop.count += work_since(socket)
    return loop.count >= FEW and loop.long_run()
