"""What the web page shows of a photo: its captions, and the photo under the attention of each word.

as_html(captioner, photo, captions)   the whole answer
sentence(error)                       the reason why there is none
as_url(picture, kind)                 a picture inside the page
"""

import base64
import io
from html import escape

from PIL import Image

from captioning.inference.attention_maps import attention_maps, attention_overlay
from captioning.inference.captioner import Caption, Captioner

EMPTY_HTML = '<p class="invitation">Upload, paste or take a photo, or choose one below.</p>'


def as_html(captioner: Captioner, photo: Image.Image, captions: list[Caption]) -> str:
    """Return the captions, and below them the photo with the attention of the chosen word.

    Plain radio buttons: they work with a mouse, a finger, the arrow keys and a screen reader.
    """
    best, *others = captions
    rows = "".join(
        f"<li><span>{escape(caption.text) or '(no words)'}</span>{_score(caption)}</li>"
        for caption in others
    )
    maps, is_attention = attention_maps(captioner, photo, best.words) if best.words else ((), True)
    photo = photo.copy()
    photo.thumbnail((640, 640))
    buttons = "".join(
        f'<label><input type="radio" name="look"><span>{escape(captioner.vocab.words[word])}</span>'
        f'<img alt="" src="{as_url(attention_overlay(weights), "PNG")}"></label>'
        for word, weights in zip(best.words, maps, strict=True)
    )
    legend = "Attention before" if is_attention else "No attention in this decoder: Grad-CAM of"
    return f"""<p class="best" aria-live="polite">{escape(best.text) or "(no words)"}
        {_score(best)}</p>{_judgment(best)}
        <ol class="others" start="2">{rows}</ol>
        <fieldset class="looks"><legend>{legend} each word</legend>
        <div class="stage" style="--shape: {photo.width} / {photo.height}">
        <img alt="the photo" src="{as_url(photo, "JPEG")}">
        <label><input type="radio" name="look" checked><span>whole photo</span></label>
        {buttons}</div></fieldset>"""


def sentence(error: Exception) -> str:
    """Return the message of an error, which says what is wrong, for a reader of the page."""
    return f'<p class="wrong" role="alert">{escape(str(error))}</p>'


def _score(caption: Caption) -> str:
    score = caption.as_dict()["score"]
    return "" if score is None else f" <data>score {score:.2f}</data>"


def _judgment(caption: Caption) -> str:
    """Return what the image network makes of the photo, where the captioner has a familiarity."""
    if caption.judgment is None:
        return ""
    return f'<p class="judgment">This photo is {escape(str(caption.judgment))}.</p>'


def as_url(picture: Image.Image, kind: str) -> str:
    """Return a picture as part of the page itself, so that no file of it remains."""
    memory = io.BytesIO()
    picture.save(memory, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(memory.getvalue()).decode()}"
