// The door to undici: its HTTP/1.1 client and nothing else. The index of the package also loads fetch, WebSockets, caches, mocks and proxies, which each
// process would hold in memory (docs/decisions/0185-what-a-start-loads.md). A test holds these files to the index.
import Client from 'undici/lib/dispatcher/client.js'
import Pool from 'undici/lib/dispatcher/pool.js'
import buildConnector from 'undici/lib/core/connect.js'
import errors from 'undici/lib/core/errors.js'
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js'
import request from 'undici/lib/api/api-request.js'

// The index of the package gives every dispatcher its methods. Of them the key services use one.
Object.assign(Dispatcher.prototype, { request })

export type { Dispatcher } from 'undici'
export { buildConnector, Client, errors, Pool }
