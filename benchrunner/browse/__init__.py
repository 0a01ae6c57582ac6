"""runs.db as web pages: Datasette, read only, with what a run and a trial came to on a page each.

    benchrunner browse
      cli/browse_command.py    binds the port, waits for Ctrl-C
        server.py              starts the child, ends it
          (child) app.py       builds Datasette: metadata.py, ready_queries.py, plugin.py
                    plugin.py  asks pages.py for what templates/ show
"""
