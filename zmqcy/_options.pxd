# C declarations of the options of sockets and contexts.

from cpython.object cimport PyObject

from zmqcy._handle cimport (
    BUSY, CLOSED, FORKED, FREE_THREADED, WATCHED, ContextHandle, Ending, Handle, enter_slowly)

cdef enum:
    LONGEST_VALUE = 4096    # maximum length of a value that is read, in bytes
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
    # Return the object to lock for a critical section of a socket: the handle, which its shadows share. With a GIL the
    # critical section is a no-op, so the socket itself saves reading the handle.
    return (<SocketOptions> socket).handle if FREE_THREADED and isinstance(socket, SocketOptions) else socket


cdef inline object lock_at(PyObject *socket):
    # As `lock_of`, for a socket in a C field: makes no reference to the socket.
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
    # Check before each call that the socket is open, not used by another thread, and not inherited by fork.
    if socket.handle.state & (BUSY | CLOSED | FORKED | WATCHED):
        return enter_slowly(socket.handle, call)
    return 0


cdef bytes whole_endpoint(bytes endpoint)
cdef int set_number(Ending *ending, int number, int value, str call, str name) except -1
