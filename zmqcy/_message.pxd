# Zero-copy buffers that libzmq borrows, and the frames that it delivers.

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
    BIG = 65536  # a copy of at least so many bytes releases the GIL

cdef int forks   # the number of forks between the first process and this one
cdef bint memory_wanted  # a context is tuned, and malloc is not yet configured to keep the memory of large messages


cdef struct Tracking:
    # The state of a MessageTracker that a thread without the GIL changes when it releases a buffer.
    long pending  # the number of buffers that libzmq still has
    void *done    # a lock, which is released when `pending` is 0
    long waker    # a file descriptor that is written to at that time; -1: no task waits


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


# The address and the size of bytes, or of the memoryview that `to_buffer` makes of other objects.

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
    # Copy a message into new bytes, in one copy. None: there is no memory.
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
