# The gate, arguments and times, for the other extension modules.

from cpython.long cimport PyLong_AsLongAndOverflow
from libc.limits cimport INT_MAX, INT_MIN

from zmqcy._system cimport nsec

cdef extern from "_system.h" nogil:
    const char *c_type_name "zmqcy_type_name"(int type) noexcept  # for errors and exits without an import

cdef enum:
    NO_TYPE = -1          # of a socket: the error is about none
    LAST_TYPE = 20        # CHANNEL, a draft as all from SERVER on
    FOREVER = -1
    EXPIRED = 0           # a deadline that has passed: do not wait at all
    SECOND = 1000000000   # in nanoseconds
    SLICE = 500           # ms after which a wait looks for signals: one may come just before it, or to another thread
    SIGNAL_CHECK = 100000000  # in nanoseconds: a call that goes on for so long without a wait looks for signals too


cdef inline int check(int rc, str call, int socket_type, str detail) except -1:
    # The gate: pass on what a call of libzmq returned, or raise for its errno.
    if rc < 0:
        return fail(call, socket_type, detail)
    return rc


cdef object error(int number, str call, int socket_type, str detail=*, str text=*)
cdef int fail(str call, int socket_type, str detail) except -1
cdef int interrupted(int number) except -1
cdef str type_name(int number)
cdef object no_drafts(str call, int socket_type, str detail)
cdef object to_integer(object value, str call, str name, object low, object high)
cdef int to_int(object value, str call, str name, int low=*, int high=*) except? -1
cdef int to_flag_bits(object flags, str call) except -1
cdef object to_milliseconds(object time, str call)
cdef object round_up(object milliseconds)
cdef nsec deadline_after(object timeout, str call) except -2
cdef nsec to_spin(object microseconds) except -1
cdef int remaining(nsec deadline) noexcept nogil
cdef int slice_of(nsec deadline) noexcept nogil
cdef bytes c_string(object text, str call, str name)
cdef object to_buffer(object data, str call, object place)
cdef int set_attribute(object owner, object name, object value) except -1
cdef object unknown_attribute(object owner, str name)


cdef inline bint fits(object value, int *number, int low=INT_MIN, int high=INT_MAX) except -1:
    # Convert an int between two bounds. Return whether it is one.
    cdef int overflow = 0
    cdef long found
    if type(value) is not int:
        return False
    found = PyLong_AsLongAndOverflow(value, &overflow)
    number[0] = <int> found
    return overflow == 0 and low <= found <= high


cdef inline int to_flags(object flags, str call) except -1:
    if flags is 0:
        return 0
    return to_flag_bits(flags, call)
