import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { errorAnswer, hostId, xmlAnswer } from '../../src/embedded-store/request.ts'
import { closeServer, createStoreServer, listen, sendAnswer } from '../../src/embedded-store/server.ts'
import { Store } from '../../src/embedded-store/store.ts'
import { changeRows, flipBit, headBytes, resetConnection, wholeAnswer, withBody, withHeaders, writeRaw } from './faults.ts'
import { Recording, Traffic } from './recorder.ts'
import { Rules } from './rules.ts'
import { RememberingBackend, StoredObject } from './stored-object.ts'
import type { Server, ServerResponse } from 'node:http'
import type { HttpRequest, HttpResponse } from '../../src/http/message.ts'
import type { ObjectVersion } from '../../src/embedded-store/records.ts'
import type { Conditions } from '../../src/store-client/probe-conditions.ts'
import type { Fault, WholeAnswer } from './faults.ts'
import type { RecordedRequest } from './recorder.ts'

export interface TestStoreOptions {
  readonly accessKeyId?: string
  readonly secretAccessKey?: string
  readonly region?: string
  /** Buckets that are there from the start. */
  readonly buckets?: readonly string[]
  /** Whether the store adds a checksum of its own to objects without one. Default true, as AWS. */
  readonly defaultChecksum?: boolean
  /** Deny objects without `x-amz-server-side-encryption: AES256`, as a bucket policy does. Default false. */
  readonly demandsSse?: boolean
  /** Keep the bytes of request bodies, not only their length. Default true. */
  readonly keepBodies?: boolean
  /** Base domain of virtual-host style requests. */
  readonly domain?: string
  /** Of `random`. Default 1: runs are alike. */
  readonly seed?: number
  /** Milliseconds an idle connection is kept, as the store announces. Short: the connections that are open are those in use. */
  readonly keepAliveMs?: number
}

/** What the embedded store enforces in every kind of bucket: `test/store-client/capabilities.test.ts` compares it with what the probe finds. */
const ofEmbeddedStore: Conditions = {
  put: true,
  complete: true,
  copy: true,
  delete: true,
  copySourceIfMatch: true,
  putEtags: 'quoted',
  copySourceHeader: 'x-amz-copy-source-if-match'
}

/** Marks that a fault handles the exchange: no other code may write to the connection. */
const taken = Symbol('taken')

export async function startTestStore(options: TestStoreOptions = {}): Promise<TestStore> {
  const { region = 'us-east-1', accessKeyId = 'AKIDTESTSTORE', secretAccessKey = 'test-store-secret' } = options
  const backend = new RememberingBackend()
  const store = await Store.open({
    backend,
    region,
    credentials: [{ accessKeyId, secretAccessKey }],
    defaultChecksum: options.defaultChecksum ?? true,
    demandsSse: options.demandsSse ?? false,
    ...options.domain === undefined ? {} : { domain: options.domain }
  })
  for (const name of options.buckets ?? []) {
    await store.catalog.createBucket({ name, created: Date.now(), versioning: 'Unversioned', objectLock: false, acl: 'private', documents: {} })
  }
  const testStore = new TestStore(store, backend, {
    region,
    accessKeyId,
    secretAccessKey,
    keepBodies: options.keepBodies ?? true,
    demandsSse: options.demandsSse ?? false,
    seed: options.seed ?? 1
  })
  if (options.keepAliveMs !== undefined) testStore.keepAlive(options.keepAliveMs)
  await testStore.listen()
  return testStore
}

interface Settings {
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly keepBodies: boolean
  readonly demandsSse: boolean
  readonly seed: number
}

/** The embedded store in memory, over real HTTP on a free port, with everything a hostile store can do. */
export class TestStore {
  readonly rules = new Rules()
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly traffic: Traffic
  readonly requests: RecordedRequest[] = []
  readonly #store: Store
  readonly #backend: RememberingBackend
  readonly #server: Server
  readonly #keepBodies: boolean
  readonly #demandsSse: boolean
  #seed: number
  #port = 0
  #endpoint = ''

  constructor(store: Store, backend: RememberingBackend, { region, accessKeyId, secretAccessKey, keepBodies, demandsSse, seed }: Settings) {
    this.#store = store
    this.#backend = backend
    this.region = region
    this.accessKeyId = accessKeyId
    this.secretAccessKey = secretAccessKey
    this.#keepBodies = keepBodies
    this.#demandsSse = demandsSse
    this.#seed = seed
    this.#server = createStoreServer((request, response) => this.#serve(request, response))
    this.traffic = new Traffic(this.#server)
  }

  get endpoint(): string {
    return this.#endpoint
  }

  /** What the store enforces; null where rules or options may have changed it, so that it has to be found out. */
  get conditions(): Conditions | null {
    return this.rules.empty && !this.#demandsSse ? ofEmbeddedStore : null
  }

  /** The stored object, read without S3. @throws S3Error NoSuchBucket */
  object(bucket: string, key: string): StoredObject {
    return new StoredObject(this.#backend, this.#store.catalog.bucket(bucket), key)
  }

  /** Keys whose newest version is an object, sorted. */
  keys(bucket: string): readonly string[] {
    const { keys } = this.#store.catalog.bucket(bucket)
    const found: string[] = []
    for (let key = keys.atOrAfter(''); key !== undefined; key = keys.after(key)) if (keys.get(key)?.[0]?.kind === 'object') found.push(key)
    return found
  }

  /** Uploads in progress in a bucket. */
  uploads(bucket: string): number {
    return [...this.#store.catalog.bucket(bucket).uploads].length
  }

  /** 0 up to, not including, 1; the same sequence for the same seed (mulberry32). */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  keepAlive(milliseconds: number): void {
    this.#server.keepAliveTimeout = milliseconds
  }

  /** Listens, again on the same port after a `refuse`. */
  async listen(): Promise<void> {
    if (this.#server.listening) return
    this.#endpoint = await listen(this.#server, '127.0.0.1', this.#port)
    this.#port = Number(new URL(this.#endpoint).port)
  }

  /** From now on connections are refused, and those there are break. */
  refuse(): void {
    this.#server.close()
    this.traffic.breakAll()
  }

  async close(): Promise<void> {
    this.traffic.breakAll()
    if (this.#server.listening) await closeServer(this.#server)
  }

  async #serve(request: HttpRequest, response: ServerResponse): Promise<void> {
    const address = this.#address(request)
    const recording = new Recording(request, address, response.socket?.remotePort ?? 0, this.#keepBodies)
    this.requests.push(recording)
    const fault = this.rules.take(recording)
    recording.fault = fault?.type ?? null
    const limit = fault?.type === 'mid-upload' ? fault.bytes : Infinity
    const watched = recording.watch(request, limit, async () => {
      if (fault?.type === 'mid-upload' && fault.then === 'reset') resetConnection(response.socket)
      return forever()
    })
    try {
      const answer = fault === null ? await this.#store.handle(watched) : await this.#faulty(watched, response, fault)
      if (answer === taken) return
      recording.status = answer.status
      const length = answer.headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1]
      recording.responseLength = length === undefined ? null : Number(length)
      // The response lets go of its socket when it has ended.
      const { socket } = response
      await sendAnswer(response, request, answer)
      if (fault?.type === 'extra' && fault.where === 'after-response') await writeRaw({ socket }, fault.bytes)
    } catch {
      // Clients that went away and answers Node will not write end here: the connection must not look healthy.
      resetConnection(response.socket)
    }
  }

  #address(request: HttpRequest): { readonly bucket: string; readonly key: string } {
    try {
      return this.#store.address(request)
    } catch {
      return { bucket: '', key: '' }
    }
  }

  /** Meets a fault. @returns the answer to write, or `taken` when the fault has written itself */
  async #faulty(request: HttpRequest, response: ServerResponse, fault: Fault): Promise<HttpResponse | typeof taken> {
    switch (fault.type) {
      case 'refuse':
        this.refuse()
        return taken
      case 'answer': {
        const body = Buffer.from(fault.body ?? '')
        return { status: fault.status, headers: [...fault.headers ?? [], ['Content-Length', String(body.length)]], body }
      }
      case 'error':
        return errorDocument(fault.status, fault.code, fault.message ?? fault.code, request)
      case 'redirect':
        return { status: fault.status, headers: [['Location', fault.location], ['Content-Length', '0']], body: null }
      case 'garbage':
        await writeRaw(response, fault.bytes ?? Buffer.from('\x16\x03\x01 this is not HTTP\r\n\r\n', 'latin1'))
        // Of a body that nobody reads here: its end would not be seen.
        response.socket?.destroySoon()
        return taken
      case 'delay':
        await sleep(fault.milliseconds, undefined, { ref: false })
        return this.#store.handle(request)
      case 'late': {
        const body = await buffer(request.body)
        await fault.until()
        return this.#store.handle({ ...request, body: Readable.from([body]) })
      }
      case 'held-end': {
        const answer = await this.#carryOut(request)
        return { ...answer, body: Readable.from(withHeldEnd(answer.body, fault.until)) }
      }
      case 'white-space':
        return this.#whiteSpace(request, response, fault)
      case 'lost-answer':
        await this.#carryOut(request)
        return errorDocument(fault.status, fault.code, fault.code, request)
      case 'mid-upload':
        return this.#store.handle(request)
      case 'reset':
      case 'stall':
        return this.#breakOff(request, response, fault)
      case 'substitute':
      case 'older':
        return this.#substitute(request, fault)
      case 'shift':
        return this.#shift(request, fault.by)
      case 'truncate':
      case 'close-delimited':
      case 'content-length':
        return this.#badFraming(request, response, fault)
      case 'headers':
      case 'extra':
      case 'flip':
      case 'rows':
      case 'transform':
        return this.#bend(await this.#carryOut(request), request, fault)
    }
  }

  async #carryOut(request: HttpRequest): Promise<WholeAnswer> {
    return wholeAnswer(await this.#store.handle(request))
  }

  #bend(answer: WholeAnswer, request: HttpRequest, fault: Extract<Fault, { type: 'headers' | 'extra' | 'flip' | 'rows' | 'transform' }>): WholeAnswer {
    switch (fault.type) {
      case 'headers': {
        const changed = withHeaders(answer, fault.set ?? {})
        return { ...changed, headers: [...changed.headers, ...fault.add ?? []] }
      }
      case 'extra':
        return fault.where === 'in-body' ? withBody(answer, Buffer.concat([answer.body, fault.bytes])) : answer
      case 'flip': {
        const offset = fault.offset === 'random' ? Math.floor(this.random() * answer.body.length) : fault.offset
        return { ...answer, body: flipBit(answer.body, offset, fault.bit ?? Math.floor(this.random() * 8)) }
      }
      case 'rows':
        return withBody(answer, Buffer.from(changeRows(answer.body.toString('utf8'), fault), 'utf8'))
      case 'transform':
        return fault.change(answer, request)
    }
  }

  async #breakOff(request: HttpRequest, response: ServerResponse, fault: Extract<Fault, { type: 'reset' | 'stall' }>): Promise<typeof taken> {
    if (fault.at !== 'before') {
      const answer = await this.#carryOut(request)
      const head = rawHead(request, answer)
      if (fault.at === 'mid-head') await writeRaw(response, head.subarray(0, head.length >> 1))
      if (fault.at === 'after-head' || fault.at === 'mid-body') await writeRaw(response, head)
      if (fault.at === 'mid-body') await writeRaw(response, answer.body.subarray(0, fault.bytes))
    }
    if (fault.type === 'stall') return taken
    // Let what was written leave first: a reset throws away what is still queued.
    await sleep(20)
    resetConnection(response.socket)
    return taken
  }

  /** A head that says another length than the body has, or none, ended by a clean FIN. */
  async #badFraming(
    request: HttpRequest,
    response: ServerResponse,
    fault: Extract<Fault, { type: 'truncate' | 'close-delimited' | 'content-length' }>
  ): Promise<typeof taken> {
    const answer = await this.#carryOut(request)
    const length = fault.type === 'close-delimited' ? null : String(fault.type === 'truncate' ? answer.body.length : fault.value)
    await writeRaw(response, rawHead(request, withHeaders(answer, { 'Content-Length': length, 'Connection': 'close' })))
    await writeRaw(response, fault.type === 'content-length' ? answer.body : answer.body.subarray(0, fault.bytes))
    response.socket?.end()
    return taken
  }

  async #whiteSpace(
    request: HttpRequest,
    response: ServerResponse,
    { count, everyMs }: Extract<Fault, { type: 'white-space' }>
  ): Promise<typeof taken> {
    const answer = await this.#carryOut(request)
    const start = answer.body.indexOf('>') + 1
    await writeRaw(response, rawHead(request, withHeaders(answer, { 'Content-Length': String(answer.body.length + count), 'Connection': 'close' })))
    await writeRaw(response, answer.body.subarray(0, start))
    for (let i = 0; i < count; i += 1) {
      await sleep(everyMs)
      await writeRaw(response, Buffer.from(' '))
    }
    await writeRaw(response, answer.body.subarray(start))
    response.socket?.end()
    return taken
  }

  /** Answers from another object, or from what this one once was. */
  async #substitute(request: HttpRequest, fault: Extract<Fault, { type: 'substitute' | 'older' }>): Promise<HttpResponse> {
    const { bucket: name, key } = this.#store.address(request)
    const bucket = this.#store.catalog.bucket(name)
    const own = this.object(name, key)
    const other = fault.type === 'substitute' ?
      this.object(fault.bucket ?? name, fault.key).version
      : own.history.at(-1 - (fault.back ?? 1))
    if (other === undefined) throw new Error(`${key} was never anything else`)
    const served = own.exists ? mix(own.version, other, fault.what) : other
    return this.#store.handle(request, await this.#backend.shadow(bucket, key, served))
  }

  /** The right head with the bytes of a neighbouring range. */
  async #shift(request: HttpRequest, by: number): Promise<HttpResponse> {
    const answer = await this.#carryOut(request)
    const { bucket, key } = this.#store.address(request)
    const whole = await this.object(bucket, key).body()
    const range = answer.headers.find(([name]) => name === 'Content-Range')?.[1]
    const start = Math.max(0, Number(/^bytes (\d+)-/.exec(range ?? '')?.[1] ?? 0) + by)
    const wrong = Buffer.concat([whole.subarray(start), whole]).subarray(0, answer.body.length)
    return { ...answer, body: wrong }
  }
}

async function* withHeldEnd(body: Buffer, until: () => Promise<unknown>): AsyncGenerator<Buffer> {
  yield body.subarray(0, -1)
  await until()
  yield body.subarray(-1)
}

/** The head as the server would have written it. */
function rawHead({ id }: HttpRequest, answer: WholeAnswer): Buffer {
  return headBytes(withHeaders(answer, { 'x-amz-request-id': id, 'x-amz-id-2': hostId, 'Date': new Date().toUTCString() }))
}

/** An object with the body of one and everything else of the other. */
function mix(own: ObjectVersion, other: ObjectVersion, what: 'body' | 'metadata' | 'both'): ObjectVersion {
  const [said, given] = what === 'body' ? [own, other] : what === 'metadata' ? [other, own] : [other, other]
  return { ...said, blobs: given.blobs, size: given.size, parts: given.parts, versionId: own.versionId }
}

function errorDocument(status: number, code: string, message: string, request: HttpRequest): HttpResponse {
  if (request.method === 'HEAD') return { status, headers: [], body: null }
  const whole = errorAnswer(null, request)
  const xml = (Buffer.isBuffer(whole.body) ? whole.body.toString('utf8') : '')
    .replace(/<Code>.*?<\/Code>/, `<Code>${code}</Code>`).replace(/<Message>.*?<\/Message>/, `<Message>${message}</Message>`)
  return xmlAnswer(xml, [], status)
}

/** Never settles; keeps nothing alive. */
function forever(): Promise<never> {
  return new Promise(() => undefined)
}
