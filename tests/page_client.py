"""The web page as a program asks it: every request ends, with an answer or with TimeoutError.

gradio's own client waits for an answer without limit, and threads of it keep Python from exiting.
"""

import time
from pathlib import Path

from gradio_client import Client, handle_file

ANSWER_WITHIN = 120  # seconds; twice what the page gives a request, on a busy machine


class PageClient:
    """A client of the page at `address`. Close it in the end."""

    def __init__(self, address: str):
        self.client = Client(address, verbose=False, httpx_kwargs={"timeout": ANSWER_WITHIN})

    def ask(self, photo: Path | dict, name: str, **options: object) -> dict:
        """Return the answer of the call `/caption`; raises TimeoutError where there is none."""
        upload = photo if isinstance(photo, dict) else handle_file(photo)
        deadline = time.monotonic() + ANSWER_WITHIN
        job = self.client.submit(upload, name, **options, api_name="/caption")
        answer = job.result(timeout=ANSWER_WITHIN)
        while self.client.stream_open:  # an answer may be lost on a stream that is being closed
            if time.monotonic() > deadline:
                raise TimeoutError("the page does not close the stream of answers")
            time.sleep(0.01)
        return answer

    def close(self) -> None:
        """End the threads that wait for answers."""
        for messages in list(self.client.pending_messages_per_event.values()):
            messages.append(None)
        self.client.close()
