# Operations and their queues, for the calls that start them.

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
    # The state of an operation.
    NEW       # in no queue; it may have been tried once
    YIELDING  # in its queue: the first attempt comes after an event-loop iteration
    WAITING   # in its queue
    WOKEN     # its task is woken, and has not run yet
    FINISHED
    FAILED
    CANCELLED

cdef enum:
    # Amounts of work, in the units of `work_since`:
    FEW = 64            # then read the clock, and check whether the loop has had an iteration since
    FOREIGN_MOST = 256  # max work without an iteration, for a socket without a Loop


cdef struct Node:
    # An entry of a queue. A queue is a ring with one node that has no operation.
    Node *previous
    Node *following
    PyObject *owner        # the operation, which leaves the queue before it is freed
    PyObject *reference    # a weak reference to it; NULL with a GIL


cdef class Waker:
    cdef Node *operation   # the operation's node; NULL once the operation is freed
    cdef QueuedSocket socket
    cdef Loop loop
    cdef object callback   # wakes the task; None: the task does not wait, or was woken
    cdef object context
    cdef tuple cancelled_by  # the cancellation message
    cdef bint blocking

    cdef int wake(self, bint at_once) except -1


cdef class Operation:
    cdef object __weakref__
    cdef QueuedSocket socket
    cdef Loop loop         # in which it was started; None: not an asyncio loop
    cdef Node node
    cdef State state
    cdef object value      # the result, the exception, or the cancellation message
    cdef str call
    cdef int flags         # as the caller passed them
    cdef object timeout    # as the caller passed it
    cdef nsec start        # when the wait began; 0: not yet
    cdef readonly object seconds   # max seconds to wait, or None
    cdef object timer
    cdef object waker      # wakes the task that awaits it; None: no task does
    cdef bint awaited
    cdef bint expired      # timed out
    cdef bint hopeful      # it waits for an answer
    cdef bint noticed      # the exception was retrieved
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
    cdef list ends         # the number of parts of each message; None: one message
    cdef object copy
    cdef MessageTracker tracker
    cdef readonly Py_ssize_t sent


cdef class Receive(Operation):
    cdef object copy
    cdef bint ends_loop    # of `async for`: the end of the context ends the iteration


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
    cdef Loop attendant    # the Loop that reads its events regularly
    cdef object schedule   # without a Loop: schedules a function in the event loop
    cdef Node receivers
    cdef Node senders
    cdef Node polls
    cdef Watch watch
    cdef set kept          # operations with callbacks, which are kept alive
    cdef bint keen         # sends are carried out although no code refers to their futures
    cdef bint foreign      # without a Loop: the subclass waits in its own way
    cdef bint watching     # the loop watches the file descriptor
    cdef bint looking      # `look` runs
    cdef bint look_due     # `look` is scheduled
    cdef bint sweep_due    # the end of watching is scheduled
    cdef int count         # without a Loop: work since the last yield to the event loop
    cdef uint64_t done     # total work at the last call of `work_since`
    cdef bint spinning
    cdef nsec spin_until
    cdef double patience   # seconds until the next attempt if the socket reports ready but the operation fails

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
    # The object that asyncio stores in the thread's state while a loop runs. Reading it takes a tenth of the time
    # of asyncio's function, which makes a system call before Python 3.12. NULL if this asyncio stores no object.
    cdef PyObject *state = PyThreadState_GetDict()
    return NULL if state is NULL else PyDict_GetItem(state, "__asyncio_running_event_loop__")


cdef inline int arrive(QueuedSocket socket, str call) except -1:
    # The check before each operation: the running loop must be the socket's.
    cdef Loop loop = socket.loop
    cdef PyObject *sign
    if loop is not None:
        sign = sign_of_loop()
        if sign is not NULL and sign is <PyObject *> loop.sign:
            return 0
    return 0 if socket.foreign else socket.arrive_slowly(call)


cdef inline int work_since(QueuedSocket socket) noexcept:
    # Count 1 for a new operation, and 1 for each message and each 4 KiB sent or received since the last operation.
    cdef Stats *stats = &socket.handle.stats
    cdef uint64_t before = socket.done
    socket.done = ((stats.messages_sent + stats.messages_received) << 12) + stats.bytes_sent + stats.bytes_received
    # Bounded, because the counters of a new shadow include the work of the other owners.
    return 1 + <int> min((socket.done - before) >> 12, <uint64_t> 1 << 20)


cdef inline bint due(QueuedSocket socket) except -1:
    # Return whether the next operation must wait for an event-loop iteration.
    cdef Loop loop = socket.loop
    if loop is None:
        socket.count += work_since(socket)
        if socket.count < FOREIGN_MOST:
            return False
        socket.count = 0
        return True
    loop.count += work_since(socket)
    return loop.count >= FEW and loop.long_run()
