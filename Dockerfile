# The image holds the Node binary and the npm package with its dependencies, as "npm pack" makes it from these files. No shell, no npm.
# This one has a compiler, for the native core of its platform; what it makes goes into the image, the compiler does not.
FROM node:24.21.0-bookworm AS build
WORKDIR /build
COPY package.json package-lock.json ./
# No dependency needs its install script; the CRC module comes as a prebuilt package per platform.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY .ci .ci
COPY src src
COPY config config
COPY docs docs
COPY README.md LICENSE CHANGELOG.md ./
# Optional packages beside it: --build-arg WITH="google-auth-library@11.3.4 @azure/identity@4.14.1", as package.json has their versions.
ARG WITH=
RUN npm run build-native && npm pack && npm install --global --prefix /app --omit=dev --ignore-scripts --no-audit --no-fund ./sealgate-*.tgz $WITH
# A directory the gateway may own: a volume mounted here takes over its owner.
RUN mkdir -p /state/var/lib/sealgate

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /app/lib/node_modules /app/node_modules
COPY --from=build --chown=65532:65532 /state/ /
USER 65532:65532
WORKDIR /var/lib/sealgate
ENV NODE_ENV=production
EXPOSE 9000 9001
STOPSIGNAL SIGTERM
# Needs an `admin` section in the configuration, on port 9001.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/node", "-e", "require('node:http').get('http://127.0.0.1:9001/livez', (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# Short collections, of 8 MiB: what they interrupt is somebody's request (docs/PERFORMANCE.md).
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=8", "--disable-proto=throw", "--disable-sigusr1", "/app/node_modules/sealgate/dist/main.js"]
CMD ["serve"]
