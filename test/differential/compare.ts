import type { Answer, Memory, Step } from './side.ts'

/** One fact on which two sides differ. */
export interface Difference {
  /** `status`, `header NAME`, `body`, or the path of an XML element. */
  readonly where: string
  readonly store: string
  readonly gateway: string
}

/** Headers that say when, by whom and on which connection. */
const volatile = new Set([
  'connection',
  'date',
  'keep-alive',
  'server',
  'transfer-encoding',
  'x-amz-id-2',
  'x-amz-request-id',
  // MinIO's own: they are no part of S3.
  'strict-transport-security',
  'x-content-type-options',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-xss-protection'
])

/** Facts of one answer, each under a name, with everything that names the side or the moment taken out. */
export function factsOf(step: Step, answer: Answer, memory: Memory): ReadonlyMap<string, string> {
  const facts = new Map<string, string>([['status', String(answer.status)]])
  const isXml = answer.body.subarray(0, 100).toString('latin1').trimStart().startsWith('<')
  for (const [name, value] of answer.headers) {
    if (volatile.has(name) || (name === 'content-length' && (isXml || answer.status >= 400))) continue
    const before = facts.get(`header ${name}`)
    const told = generatedHeaders.has(name) && value !== 'null' ? `<${name}>` : blindTimes(memory.blind(value))
    facts.set(`header ${name}`, before === undefined ? told : `${before},${told}`)
  }
  if (isXml && step.method !== 'HEAD') xmlFacts(inOrder(memory.blind(answer.body.toString('utf8'))), facts)
  else {
    const body = memory.blind(answer.body.toString('latin1'))
    facts.set('body', body.length > 2000 ? `${body.length} bytes ${digest(answer.body)}` : body)
  }
  return facts
}

/** DeleteObjects answers in no particular order. */
function inOrder(document: string): string {
  const rows = document.match(/<Deleted>.*?<\/Deleted>/gs)
  if (rows === null) return document
  // By key: a row may begin with the id of its marker, which differs.
  const keyOf = (row: string): string => /<Key>(.*?)<\/Key>/s.exec(row)?.[1] ?? ''
  return `<DeleteResult>${rows.toSorted((a, b) => keyOf(a) < keyOf(b) ? -1 : 1).join('')}${
    document.match(/<Error>.*?<\/Error>/gs)?.toSorted().join('') ?? ''
  }</DeleteResult>`
}

function digest(bytes: Buffer): string {
  let sum = 0
  for (const byte of bytes) sum = (sum * 31 + byte) >>> 0
  return sum.toString(16)
}

function blindTimes(text: string): string {
  return text
    .replace(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, '<uuid>')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>')
    .replace(/(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} 20[2]\d \d\d:\d\d:\d\d GMT/g, '<time>')
}

/** Flattens a document into `path` → text; the n-th element of a name gets `[n]`. */
function xmlFacts(source: string, facts: Map<string, string>): void {
  const stack: { name: string; counts: Map<string, number>; text: string; parent: boolean }[] = []
  const tags = /<\?[^>]*\?>|<(\/?)([A-Za-z0-9:]+)([^>]*?)(\/?)>|([^<]+)/g
  for (const [, closing, rawName, attributes, empty, text] of source.matchAll(tags)) {
    if (text !== undefined) {
      const top = stack.at(-1)
      if (top !== undefined) top.text += text
      continue
    }
    if (rawName === undefined) continue
    const name = rawName.slice(rawName.indexOf(':') + 1)
    if (closing === '/') closeElement(stack, facts)
    else {
      const parent = stack.at(-1)
      const count = (parent?.counts.get(name) ?? 0) + 1
      parent?.counts.set(name, count)
      if (parent !== undefined) parent.parent = true
      stack.push({ name: `${name}${count > 1 ? `[${count}]` : ''}`, counts: new Map(), text: '', parent: false })
      const type = /xsi:type="([^"]*)"/.exec(attributes ?? '')?.[1]
      if (type !== undefined) facts.set(`${stack.map((e) => e.name).join('/')}@type`, type)
      if (empty === '/') closeElement(stack, facts)
    }
  }
}

function closeElement(stack: { name: string; text: string; parent: boolean }[], facts: Map<string, string>): void {
  const path = stack.map((element) => element.name).join('/')
  const closed = stack.pop()
  if (closed === undefined || closed.parent) return
  const leaf = closed.name.replace(/\[\d+\]$/, '')
  if (leaf === 'RequestId' || leaf === 'HostId') return
  facts.set(path, generated.has(leaf) && closed.text !== 'null' && closed.text !== '' ? `<${leaf}>` : blindTimes(decode(closed.text)))
}

const generatedHeaders = new Set(['x-amz-version-id', 'x-amz-copy-source-version-id'])
/** Elements whose text the store makes up. */
const generated = new Set(['VersionId', 'DeleteMarkerVersionId', 'NextVersionIdMarker', 'UploadId', 'LastModified', 'Initiated', 'CreationDate'])

function decode(text: string): string {
  return text.replace(/&quot;|&#34;|&#x22;/g, '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&apos;', '\'').replaceAll('&amp;', '&')
}

/** Headers of an error answer that mean something. */
const toldOfErrors = /^header (access-control-|allow$|vary$|x-amz-delete-marker$|x-amz-version-id$)/

/** @returns the status and the code alone where those differ: what follows from them tells nothing more. */
export function differences(store: ReadonlyMap<string, string>, gateway: ReadonlyMap<string, string>): Difference[] {
  const names = new Set([...store.keys(), ...gateway.keys()])
  const differ = (where: string): boolean => store.get(where) !== gateway.get(where)
  const failed = differ('status') || Number(store.get('status')) >= 300
  return [...names].filter((where) =>
    differ(where) && (!failed || where === 'status' || where === 'Error/Code' || (!differ('status') && toldOfErrors.test(where)))
  )
    .map((where) => ({ where, store: store.get(where) ?? '(absent)', gateway: gateway.get(where) ?? '(absent)' }))
}
