// Fuzzes the native core: random calls on many streams, with arguments that fit and that do not, against a model made of node:crypto. Every byte of every
// buffer is compared after each call. Arguments: --seconds N (20), --sanitize: compiled for this run with the sanitizers for addresses and
// undefined behaviour, which needs gcc.
import { execFileSync, spawnSync } from 'node:child_process'
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync, randomBytes, type CipherGCM, type DecipherGCM } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import type { NativeCore, NativeStream } from '../../src/native/core.ts'

const root = join(import.meta.dirname, '..', '..')
const platform = `${process.platform}-${process.arch}`
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    sanitize: { type: 'boolean', default: false },
    binary: { type: 'string', default: join(root, 'src', 'native', `${platform}.node`) }
  }
})

if (values.sanitize) {
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-native-'))
  try {
    execFileSync(process.execPath, [join(root, '.ci', 'native.ts'), '--sanitize', '--to', folder], { stdio: 'inherit' })
    const library = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
    const { status } = spawnSync(process.execPath, [import.meta.filename, '--seconds', values.seconds, '--binary', join(folder, `${platform}.node`)], {
      stdio: 'inherit',
      // Node itself leaves memory behind when it exits.
      env: { ...process.env, LD_PRELOAD: library, ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0', UBSAN_OPTIONS: 'print_stacktrace=1' }
    })
    process.exitCode = status ?? 1
  } finally {
    rmSync(folder, { recursive: true })
  }
} else {
  fuzz(createRequire(import.meta.url)(values.binary) as NativeCore)
}

interface Stream {
  readonly handle: NativeStream
  readonly key: Buffer
  readonly sealing: boolean
  /** null: no segment has begun. */
  cipher: CipherGCM | DecipherGCM | null
}

function fuzz(core: NativeCore): void {
  const random = Math.random
  const below = (n: number): number => Math.floor(random() * n)
  const oneOf = <T>(list: readonly T[]): T => list[below(list.length)]!
  const counts: Record<string, number> = {}
  const until = performance.now() + Number(values.seconds) * 1000
  let streams: Stream[] = []
  // Of sizes that are no multiple of anything, so that a byte too many is another allocation's.
  const arenas = [1, 12, 16, 31, 97, 1000, 4113, 70_001].map((size) => Buffer.allocUnsafeSlow(size).fill(randomBytes(size)))
  const odd = [-1, 0.5, Number.NaN, Infinity, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, '1', null, undefined, {}]
  const number = (to: number): number => random() < 0.02 ? oneOf(odd) as number : below(to + 2)
  const note = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1
  }
  /** @returns what the call returned; null where it has refused, as it must. */
  const call = <T>(name: string, fits: boolean, action: () => T): { readonly result: T } | null => {
    let result: T
    try {
      result = action()
    } catch {
      if (fits) throw new Error(`${name} refused what fits`)
      note(`${name} refused`)
      return null
    }
    if (!fits) throw new Error(`${name} took what does not fit`)
    note(name)
    return { result }
  }
  const whole = (n: unknown): n is number => Number.isInteger(n) && (n as number) >= 0 && (n as number) < 2 ** 32

  while (performance.now() < until) {
    const turn = below(100)
    if (random() < 0.001) {
      // Nothing of what is in use may change with it: every buffer is compared after the next call.
      call('trim', true, () => core.trim())
      continue
    }
    if (random() < 0.2) {
      const what = onceAgain(core, below, oneOf(arenas), oneOf(arenas), call)
      if (what !== null) throw new Error(what)
      continue
    }
    if (streams.length === 0 || turn < 5) {
      const source = randomSource(below)
      const sealing = random() < 0.5
      const made = call('create', sourceFits(source), () => core.create(...source, sealing))
      if (made !== null) streams.push({ handle: made.result, key: keyOf(source), sealing, cipher: null })
      continue
    }
    const stream = oneOf(streams)
    if (turn < 6 && streams.length > 20) {
      // Contexts are freed while others are in use.
      streams = streams.slice(10)
    } else if (turn < 30) {
      const nonce = randomBytes(random() < 0.05 ? below(20) : 12)
      const taken = call('begin', nonce.length === 12, () => {
        core.begin(stream.handle, nonce)
      })
      if (taken !== null) {
        const key = createSecretKey(stream.key)
        stream.cipher = stream.sealing
          ? createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
          : createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
      }
    } else if (turn < 85) {
      const input = oneOf(arenas)
      const output = random() < 0.3 ? input : oneOf(arenas)
      const from = number(input.length)
      const length = number(random() < 0.8 ? Math.max(0, input.length - (whole(from) ? from : 0)) : input.length)
      const at = output === input && random() < 0.7 ? from : number(output.length)
      const inside = whole(from) && whole(length) && whole(at) && from + length <= input.length && at + length <= output.length
      const apart = input !== output || length === 0 || from === at || Math.abs(from - at) >= length
      const wanted = Buffer.from(output)
      const before = Buffer.from(input)
      const fits = inside && apart && stream.cipher !== null
      if (fits) stream.cipher?.update(before.subarray(from, from + length)).copy(wanted, at)
      call('update', fits, () => {
        core.update(stream.handle, input, from, length, output, at)
      })
      if (!output.equals(wanted) || (input !== output && !input.equals(before))) throw new Error('update wrote other bytes')
    } else if (turn < 93) {
      const output = oneOf(arenas)
      const at = number(output.length - 16)
      const fits = stream.sealing && stream.cipher !== null && whole(at) && at + 16 <= output.length
      const wanted = Buffer.from(output)
      if (fits) {
        stream.cipher?.final()
        ;(stream.cipher as CipherGCM).getAuthTag().copy(wanted, at)
        stream.cipher = null
      }
      call('tag', fits, () => {
        core.tag(stream.handle, output, at)
      })
      if (!output.equals(wanted)) throw new Error('tag wrote other bytes')
    } else {
      // No tag is known of random bytes that were opened: half of the segments are begun again with bytes that node:crypto has sealed.
      const tag = !stream.sealing && random() < 0.5 ? openSealed(stream, core) : randomBytes(16)
      const { cipher } = stream
      const fits = !stream.sealing && cipher !== null
      const answer = call('verify', fits, () => core.verify(stream.handle, tag))
      if (!fits || answer === null) continue
      stream.cipher = null
      let wanted = true
      try {
        ;(cipher as DecipherGCM).setAuthTag(tag)
        cipher.final()
      } catch {
        wanted = false
      }
      if (answer.result !== wanted) throw new Error(`verify said ${String(answer.result)}`)
      note(wanted ? 'verified' : 'not verified')
    }
  }
  console.log(`${Object.values(counts).reduce((sum, n) => sum + n, 0)} calls and outcomes, no difference`)
  for (const [what, n] of Object.entries(counts).sort()) console.log(`${String(n).padStart(9)} ${what}`)
}

type Source = readonly [secret: Buffer, salt: Buffer, info: Buffer]

/** Nine of ten fit. */
function randomSource(below: (n: number) => number): Source {
  const size = (most: number): number => below(30) === 0 ? below(2) * (most + 1) : 1 + below(most)
  return [randomBytes(below(2) === 0 ? 32 : size(1024)), randomBytes(below(2) === 0 ? 32 : size(64)), randomBytes(size(1024))]
}

function sourceFits([secret, salt, info]: Source): boolean {
  const within = (bytes: Buffer, most: number): boolean => bytes.length >= 1 && bytes.length <= most
  return within(secret, 1024) && within(salt, 64) && within(info, 1024)
}

function keyOf(source: Source): Buffer {
  return Buffer.from(hkdfSync('sha256', ...source, 32))
}

type Call = <T>(name: string, fits: boolean, action: () => T) => { readonly result: T } | null

/** A derivation, random bytes or a box in two of the arenas. @returns what is wrong; null: nothing */
function onceAgain(core: NativeCore, below: (n: number) => number, input: Buffer, output: Buffer, call: Call): string | null {
  const slice = (arena: Buffer, most: number): Buffer => {
    const at = below(arena.length + 1)
    return arena.subarray(at, Math.min(arena.length, at + below(most + 1)))
  }
  const wanted = Buffer.from(output)
  switch (below(5)) {
    case 0: {
      const [source, out] = [randomSource(below), slice(output, 34)]
      const fits = sourceFits(source) && out.length >= 1 && out.length <= 32
      if (fits) Buffer.from(hkdfSync('sha256', ...source, out.length)).copy(wanted, out.byteOffset - output.byteOffset)
      call('derive', fits, () => {
        core.derive(...source, out)
      })
      return output.equals(wanted) ? null : 'derive wrote other bytes'
    }
    case 1: {
      const at = below(Math.max(1, output.length - 31))
      // The one length that fits is rare among random ones.
      const out = below(4) === 0 ? slice(output, 33) : output.subarray(at, at + 32)
      const [key, text] = [randomBytes(below(70)), slice(input, 1000)]
      const fits = key.length >= 1 && key.length <= 64 && out.length === 32
      if (fits) createHmac('sha256', key).update(text).digest().copy(wanted, out.byteOffset - output.byteOffset)
      call('sign', fits, () => {
        core.sign(key, text, out)
      })
      return output.equals(wanted) ? null : 'sign wrote other bytes'
    }
    case 2: {
      const out = slice(output, 1100)
      const done = call('random', out.length >= 1 && out.length <= 1024, () => {
        core.random(out)
      })
      if (done !== null && out.length >= 16 && out.equals(wanted.subarray(out.byteOffset - output.byteOffset).subarray(0, out.length))) {
        return 'random wrote nothing'
      }
      out.copy(wanted, out.byteOffset - output.byteOffset)
      return output.equals(wanted) ? null : 'random wrote other bytes'
    }
    default:
      return box(core, below, slice(input, 5000), output, call)
  }
}

function box(core: NativeCore, below: (n: number) => number, plaintext: Buffer, output: Buffer, call: Call): string | null {
  const source = randomSource(below)
  const nonce = randomBytes(below(20) === 0 ? below(20) : 12)
  const aad = randomBytes(below(200))
  const at = below(output.length + 1)
  const out = below(3) === 0 ? plaintext : output.subarray(at, at + plaintext.length + (below(10) === 0 ? 1 : 0))
  const arena = out === plaintext ? plaintext : output
  const tag = below(3) === 0 ? output.subarray(at + plaintext.length, at + plaintext.length + 16) : Buffer.alloc(16)
  const common = (a: Buffer, b: Buffer): boolean => a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.length && b.byteOffset < a.byteOffset + a.length
  const same = plaintext.buffer === out.buffer && plaintext.byteOffset === out.byteOffset
  const apart = (same || !common(plaintext, out)) && (plaintext.length === 0 || (!common(tag, plaintext) && !common(tag, out)))
  // Where nothing would be written twice the rule is the core's own.
  if (plaintext.length === 0 || out.length === 0) return null
  const fits = sourceFits(source) && nonce.length === 12 && out.length === plaintext.length && tag.length === 16 && apart
  const wanted = Buffer.from(arena)
  const before = Buffer.from(plaintext)
  const tagBefore = Buffer.from(tag)
  let wantedTag = tagBefore
  if (fits) {
    const cipher = createCipheriv('aes-256-gcm', keyOf(source), nonce, { authTagLength: 16 }).setAAD(aad)
    cipher.update(plaintext).copy(wanted, out.byteOffset - arena.byteOffset)
    cipher.final()
    wantedTag = cipher.getAuthTag()
    if (arena === output && tag.buffer === output.buffer) wantedTag.copy(wanted, tag.byteOffset - arena.byteOffset)
  }
  const done = call('sealOnce', fits, () => {
    core.sealOnce(...source, nonce, aad, plaintext, out, tag)
  })
  if (!arena.equals(wanted) || !tag.equals(wantedTag)) return 'sealOnce wrote other bytes'
  if (done === null) return null
  const ciphertext = Buffer.from(out)
  const isWrong = below(2) === 0
  if (isWrong) {
    const place = below(ciphertext.length)
    ciphertext.writeUInt8(ciphertext.readUInt8(place) ^ (1 << below(8)), place)
  }
  const opened = below(2) === 0 ? ciphertext : Buffer.alloc(before.length, 0xaa)
  const answer = call('openOnce', true, () => core.openOnce(...source, nonce, aad, ciphertext, opened, wantedTag))
  if (answer?.result === isWrong) return `openOnce said ${String(answer.result)}`
  return opened.equals(isWrong ? Buffer.alloc(before.length) : before) ? null : 'openOnce wrote other bytes'
}

/** Begins a segment and opens bytes in it that node:crypto has sealed. @returns their tag */
function openSealed(stream: Stream, core: NativeCore): Buffer {
  const nonce = randomBytes(12)
  const key = createSecretKey(stream.key)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  const sealed = Buffer.concat([cipher.update(randomBytes(100)), cipher.final()])
  core.begin(stream.handle, nonce)
  core.update(stream.handle, sealed, 0, sealed.length, Buffer.alloc(sealed.length), 0)
  stream.cipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  stream.cipher.update(sealed)
  return cipher.getAuthTag()
}
