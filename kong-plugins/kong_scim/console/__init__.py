"""The console: a web page for administrators, and the local server that calls the gateway for it.

The administrator's token stays in the server's process. The browser has a session with that
process only, and the process passes on the requests of an allow-list, with the token.
"""
