# syntax=docker/dockerfile:1
# One image for every role: `up` (everything on one machine), `control-plane`, `processor`, and the command line.

FROM node:20-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY bin bin
COPY proto proto
COPY src src
RUN npx tsc -p tsconfig.json \
 && npm prune --omit=dev

# The only thing taken from here is the binary.
FROM envoyproxy/envoy:v1.40.0 AS envoy

FROM node:20-slim
ENV NODE_ENV=production \
    ENVOY_PATH=/usr/local/bin/envoy \
    SALLYPORT_DATA_DIR=/var/lib/sallyport
WORKDIR /app
COPY --from=envoy /usr/local/bin/envoy /usr/local/bin/envoy
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY bin bin
COPY proto proto
COPY envoy envoy
COPY src/storage/migrations src/storage/migrations
RUN mkdir -p /var/lib/sallyport && chown node:node /var/lib/sallyport
# uid 1000. Nothing under /app is writable for it.
USER node
VOLUME /var/lib/sallyport
EXPOSE 8080 8081
ENTRYPOINT ["node", "/app/bin/sallyport.mjs"]
CMD ["up", "--host", "0.0.0.0"]
