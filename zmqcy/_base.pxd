# C declarations of the base class of all sockets, for the other extension modules.

from libc.stdint cimport int64_t

from zmqcy._context cimport Context
from zmqcy._handle cimport Handle, Signaler, User, Watch
from zmqcy._options cimport SocketOptions, enter

cdef extern from "Python.h":
    ctypedef void *PyCFunction
    ctypedef struct PyMethodDef:
        PyCFunction ml_meth
        int ml_flags
    ctypedef struct PyMethodDescrObject:
        PyMethodDef *d_method


cdef class NativeSocket(SocketOptions):
    cdef object __weakref__
    cdef User user                # its entry in the list of objects that share the handle
    cdef Context owner            # the context that made it; None: a shadow
    cdef object frames            # class of received frames: Frame or a subclass
    cdef object origin            # object that a shadow of a foreign socket keeps alive

    cdef int open(self, Context context, object type) except -1
    cdef int stop_monitor(self) except -1
    cdef void find_descriptor(self) noexcept
    cdef int descriptor(self, str call) except -1
    cdef void set_threshold(self, size_t size) noexcept
    cdef bint conflates(self) noexcept
    cdef int attend(self) except -1
    cdef void catch_up(self) noexcept
    cdef int remember_events(self, Watch *watch, str call) except -1
    cdef int keep_feed(self, bytes address, object feed) except -1
    cdef int end_reading(self, object endpoint) except -1
    cdef int64_t on_endpoint(self, str call, object endpoint) except -1
    cdef tuple check_listener(self, str endpoint)
    cdef int check_path(self, bytes endpoint) except -1
    cdef int check_datagrams(self, bytes endpoint) except -1
    cdef int check_handler(self, str call, bytes endpoint) except -1
    cdef int note_name(self, bytes name) except -1
    cdef int lose_name(self, bytes name) except -1
    cdef int on_group(self, str call, object group) except -1


cdef enum:
    MOST_OF_DATAGRAM_GROUP = 127  # bytes; receivers read a greater length as negative


cdef str long_group(str what)
cdef int open_signaler(Signaler *signaler, Handle handle, str call) except -1
