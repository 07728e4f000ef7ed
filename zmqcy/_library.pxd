# Errors, arguments and timeouts, for the other extension modules.

from cpython.long cimport PyLong_AsLongAndOverflow
from libc.limits cimport INT_MAX, INT_MIN

from zmqcy._system cimport nsec

cdef enum:
    NO_TYPE = -1          # instead of a socket type: the error is not about a socket
    MOST_TYPES = 64       # greater than the number of any socket type
    FOREVER = -1
    EXPIRED = 0           # a deadline that has passed: do not wait
    SECOND = 1000000000   # nanoseconds
    SLICE = 500           # max ms without a check for signals: one may arrive before the wait, or in another thread
    SIGNAL_CHECK = 100000000  # nanoseconds after which a call that never waits checks for signals too

cdef enum:                # traits of socket types: see TRAITS in socket_types.py
    DRAFT = 1
    THREAD_SAFE = 2
    SENDS = 4
    RECEIVES = 8
    IN_TURN = 16
    DROPS_REST = 32
    CONFLATES = 64
    COMMANDS = 128
    DATAGRAMS = 256
    ROUTING_IDS = 512
    GROUPS = 1024


cdef struct Type:
    # A row of the table of socket types, for code without the GIL. All fields of an unknown type are 0.
    char[16] name
    int traits
    int parts

cdef Type[MOST_TYPES + 1] types


cdef inline Type *type_of(int number) noexcept nogil:
    return &types[number if 0 <= number < MOST_TYPES else MOST_TYPES]


cdef inline int check(int rc, str call, int socket_type, str detail) except -1:
    # Return the result of a libzmq call, or raise the exception for its errno.
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
    # Store a Python int in a C int. Return False if it is not an int, or out of bounds.
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
