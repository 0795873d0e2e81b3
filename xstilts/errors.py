"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: printed without a traceback.

    The message names the file, the key, the value, what is allowed and the next command, as far as each exists.
    """
