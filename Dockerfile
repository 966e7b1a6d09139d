# Two stages: a wheel house with the CPU build of torch, and a slim image that runs as nobody in particular.
FROM python:3.11-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN python -m venv /venv
COPY requirements/run.lock requirements/run.lock
RUN /venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.13.0 \
 && /venv/bin/pip install --no-cache-dir --requirement requirements/run.lock
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY service service
COPY models models
COPY migrations migrations
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation ./client .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --home-dir /home/signet signet && install -d -o signet -g signet -m 700 /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH SIGNET_HOME=/data SIGNET_ENVIRONMENT=production OMP_NUM_THREADS=1
USER signet
WORKDIR /home/signet
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health/ready', timeout=2)"]
# TLS ends at a proxy in front: say whose addresses it has with SIGNET_BEHIND_PROXY, and its URL with SIGNET_SERVER_URL.
ENV SIGNET_BEHIND_PROXY=172.16.0.0/12
ENTRYPOINT ["signet"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
