# The C side of options.

from cpython.object cimport PyObject

from zmqcy._handle cimport (
    BUSY, CLOSED, FORKED, FREE_THREADED, WATCHED, ContextHandle, Ending, Handle, enter_slowly)

cdef enum:
    LONGEST_VALUE = 4096    # bytes of the longest value that is read
    MOST_PROCESSORS = 1024  # bits of a cpu_set_t


cdef class SocketOptions:
    cdef Handle handle

    cdef int current_events(self, str call) except -1
    cdef object get_option(self, int number, str call)
    cdef int check_option(self, int rc, str call, int number) except -1
    cdef object refusal(self, int code, str call, int number, str detail)
    cdef int set_option(self, int number, object value, str call) except -1
    cdef int check_set(self, int rc, str call, int number, object value) except -1


cdef inline object lock_of(object socket):
    # What a critical section of a socket is to be one of: the handle, which its shadows share. With a GIL, which takes
    # no lock, it is the socket itself, which needs no look at the handle.
    return (<SocketOptions> socket).handle if FREE_THREADED and isinstance(socket, SocketOptions) else socket


cdef inline object lock_at(PyObject *socket):
    # The same of a socket in a field, of which no reference has to be made for that.
    return (<SocketOptions> socket).handle if FREE_THREADED else <object> socket


cdef class ContextOptions:
    cdef ContextHandle handle


cdef class Property:
    cdef int number
    cdef char kind
    cdef bint readable
    cdef bint writable
    cdef readonly str name
    cdef readonly object option

    cdef str describe(self)
    cdef int unreadable(self) except -1
    cdef int unwritable(self) except -1


cdef inline int enter(SocketOptions socket, str call) except -1:
    # The one check before each call: not closed, not in another thread's hands, not inherited by fork.
    if socket.handle.state & (BUSY | CLOSED | FORKED | WATCHED):
        return enter_slowly(socket.handle, call)
    return 0


cdef bytes whole_endpoint(bytes endpoint)
cdef int set_number(Ending *ending, int number, int value, str call, str name) except -1
