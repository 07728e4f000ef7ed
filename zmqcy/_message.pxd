# The C side of messages: how a buffer is lent to libzmq, and the frames that it delivers.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.string cimport memcpy

from zmqcy.libzmq cimport zmq_msg_data, zmq_msg_t

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) noexcept
    void PyErr_Clear()

cdef enum:
    BIG = 65536  # bytes from which on a copy is made without the GIL

cdef int forks   # between the first process and this one
cdef bint memory_wanted  # a context is tuned, and malloc has not been told yet to keep the memory of large messages


cdef struct Tracking:
    # What the thread that lets go of a lent buffer tells a tracker, whose object it stands in.
    long pending  # how many buffers libzmq still has
    void *done    # a lock, held until there are none
    long waker    # the descriptor of a socket that is written to then; -1: nobody awaits it


cdef class MessageTracker:
    cdef object __weakref__
    cdef Tracking tracking
    cdef list callbacks
    cdef tuple wakers
    cdef int forks

    cdef int seal(self) except -1
    cdef void call_back(self) noexcept
    cdef object waker(self)


cdef class Frame:
    cdef zmq_msg_t msg
    cdef bint released
    cdef int exports
    cdef bint lent
    cdef readonly MessageTracker tracker

    cdef size_t size(self)
    cdef int share(self, zmq_msg_t *copy, bint copied, str call) except -1
    cdef object lendable(self, bint copied)
    cdef int refuse(self, str call) except -1
    cdef bint writable(self) noexcept
    cdef int set_routing_id(self, object routing_id, str call) except -1
    cdef int set_group(self, object group, str call) except -1
    cdef int address(self, zmq_msg_t *msg, str call) except -1


# Where the content of bytes, or of the memoryview that `to_buffer` makes of anything else, begins and how long it is.

cdef inline const char *start_of(object data):
    if type(data) is bytes:
        return PyBytes_AS_STRING(data)
    return <const char *> PyMemoryView_GET_BUFFER(data).buf


cdef inline size_t size_of(object data):
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    return PyMemoryView_GET_BUFFER(data).len


cdef inline void copy_bytes(void *target, const void *source, size_t size) noexcept:
    if size < BIG:
        memcpy(target, source, size)
    else:
        with nogil:
            memcpy(target, source, size)


cdef inline object take(zmq_msg_t *msg, size_t size):
    # Make bytes of a message, at their final size and filled once. None: no memory.
    cdef PyObject *data
    if size < BIG:
        data = new_bytes(<const char *> zmq_msg_data(msg), size)
    else:
        if memory_wanted:
            keep_memory()
        data = new_bytes(NULL, size)
        if data is not NULL:
            copy_bytes(PyBytes_AS_STRING(<object> data), zmq_msg_data(msg), size)
    if data is NULL:
        PyErr_Clear()
        return None
    result = <object> data
    Py_DECREF(result)
    return result


cdef void may_keep_memory() noexcept
cdef void keep_memory() noexcept
cdef MessageTracker new_tracker()
cdef size_t default_threshold() except? 0
cdef size_t to_threshold(object size, str name) except? 0
cdef int copy_in(zmq_msg_t *msg, const char *data, size_t size, str call) except -1
cdef int lend(zmq_msg_t *msg, object data, MessageTracker tracker, str call) except -1
cdef Frame new_frame(object cls)
cdef void trust_users() noexcept
cdef object to_content(object data, str call, str place)
cdef object copy_of(object data)
cdef void collect() noexcept
