#pragma once
/*
 * socket_outcome: what comes of an operation on a socket.
 */

enum socket_outcome {
    SOCKET_OK = 0,
    SOCKET_E_PARKED,        /* not an error: on_done will follow */
    SOCKET_E_AGAIN,         /* non-blocking, nothing can be done now */
    SOCKET_E_BUSY,          /* one of that kind is running */
    SOCKET_E_NOT_CONNECTED, /* still connecting, or a socket that never will be */
    SOCKET_E_STATE,         /* not possible in this state: socket_state_text() */
    SOCKET_E_SHUT_DOWN,     /* sending was ended */
    SOCKET_E_CLOSING, /* a complete close is under way; also how operations end that it overtakes */
    SOCKET_E_FAILED,  /* socket_error() */
    SOCKET_E_END,     /* receive: the peer's orderly end */
    SOCKET_E_NOT_UTF8,      /* receive: not text */
    SOCKET_E_NUL,           /* receive: a NUL byte */
    SOCKET_E_NO_ROOM,       /* receive: the next character does not fit */
    SOCKET_E_NO_HALF_CLOSE, /* close: TLS 1.2 */
    SOCKET_E_CUT,           /* send: close_timeout passed while it waited */
    SOCKET_E_SECURE,        /* start TLS: it speaks TLS already */
    SOCKET_E_UNREAD,        /* start TLS: bytes of the plain phase are unread */
    SOCKET_E_PEER_ENDED,    /* start TLS: the peer ended sending */
    SOCKET_E_LIMIT,         /* accept: socket_accept.limit tells which */
    SOCKET_E_ATTACHED,      /* its bytes go by a file descriptor */
    SOCKET_E_NO_MEMORY,
};
