import { createDecipheriv, type KeyObject } from 'node:crypto'
import type { ByteStage } from '../http/stage.ts'
import { COMMITTING_SUITE, NO_TAG } from './data-key.ts'
import { S3ecError } from './fault.ts'
import { BLOCK_BYTES, TAG_BYTES, type Description } from './description.ts'

interface BodyInput {
  /** `bodyKey`. */
  readonly key: KeyObject
  readonly description: Pick<Description, 'cipher' | 'iv' | 'commitment'>
  /** Bytes that are to come. */
  readonly storedSize: number
  /** Bytes of plaintext, as they were announced. */
  readonly plaintextSize: number
  /**
   * True: not a byte comes out before all have verified; the whole plaintext is in memory until then. False: bytes come out as they come in, without
   * the last ones, so that a transfer whose tag or padding is wrong ends too early for everybody.
   */
  readonly hold: boolean
}

/** The stage that opens a whole body: GCM by its tag, CBC, which has none, by its padding. It throws S3ecError. */
export function bodyOpener(input: BodyInput): ByteStage {
  return input.description.cipher === 'gcm' ? new GcmOpener(input) : new CbcOpener(input)
}

/** What has been opened and must not go out yet. */
class Held {
  readonly #all: boolean
  #pieces: Buffer[] = []

  constructor(all: boolean) {
    this.#all = all
  }

  /** @returns what may go out instead. */
  add(piece: Buffer): readonly Buffer[] {
    if (piece.length === 0) return []
    const before = this.#all ? [] : this.#pieces
    if (!this.#all) this.#pieces = []
    this.#pieces.push(piece)
    return before
  }

  take(): readonly Buffer[] {
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }
}

class GcmOpener implements ByteStage {
  readonly #decipher
  readonly #held: Held
  readonly #tag = Buffer.alloc(TAG_BYTES)
  readonly #storedSize: number
  #seen = 0

  constructor({ key, description: { iv, commitment }, storedSize, hold }: BodyInput) {
    this.#decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
    if (commitment !== null) this.#decipher.setAAD(COMMITTING_SUITE)
    this.#storedSize = storedSize
    this.#held = new Held(hold)
  }

  update(chunk: Buffer): readonly Buffer[] {
    if (this.#seen + chunk.length > this.#storedSize) throw new S3ecError('s3ec-length')
    const ofBody = Math.max(0, Math.min(chunk.length, this.#storedSize - TAG_BYTES - this.#seen))
    if (ofBody < chunk.length) chunk.copy(this.#tag, this.#seen + ofBody - (this.#storedSize - TAG_BYTES), ofBody)
    this.#seen += chunk.length
    return this.#held.add(this.#decipher.update(chunk.subarray(0, ofBody)))
  }

  final(): readonly Buffer[] {
    if (this.#seen !== this.#storedSize) throw new S3ecError('s3ec-length')
    this.#decipher.setAuthTag(this.#tag)
    try {
      this.#decipher.final()
    } catch {
      throw new S3ecError('s3ec-tag')
    }
    return this.#held.take()
  }
}

class CbcOpener implements ByteStage {
  readonly #decipher
  readonly #held: Held
  readonly #storedSize: number
  readonly #plaintextSize: number
  #seen = 0
  #opened = 0

  constructor({ key, description: { iv }, storedSize, plaintextSize, hold }: BodyInput) {
    this.#decipher = createDecipheriv('aes-256-cbc', key, iv, NO_TAG)
    this.#storedSize = storedSize
    this.#plaintextSize = plaintextSize
    this.#held = new Held(hold)
  }

  update(chunk: Buffer): readonly Buffer[] {
    this.#seen += chunk.length
    if (this.#seen > this.#storedSize) throw new S3ecError('s3ec-length')
    return this.#add(this.#decipher.update(chunk))
  }

  final(): readonly Buffer[] {
    if (this.#seen !== this.#storedSize) throw new S3ecError('s3ec-length')
    const before = this.#add(unpadded(() => this.#decipher.final()))
    if (this.#opened !== this.#plaintextSize) throw new S3ecError('s3ec-padding')
    return [...before, ...this.#held.take()]
  }

  #add(piece: Buffer): readonly Buffer[] {
    this.#opened += piece.length
    return this.#held.add(piece)
  }
}

function unpadded(final: () => Buffer): Buffer {
  try {
    return final()
  } catch {
    throw new S3ecError('s3ec-padding')
  }
}

/**
 * Bytes of plaintext of an object in CBC, by the padding in its last block.
 * @param end its last two blocks, or its only one. @throws S3ecError
 */
export function cbcSize(end: Buffer, { key, description: { iv }, storedSize }: Pick<BodyInput, 'key' | 'description' | 'storedSize'>): number {
  const before = end.length > BLOCK_BYTES ? end.subarray(0, BLOCK_BYTES) : iv
  const decipher = createDecipheriv('aes-256-cbc', key, before, NO_TAG)
  const last = unpadded(() => Buffer.concat([decipher.update(end.subarray(-BLOCK_BYTES)), decipher.final()]))
  return storedSize - BLOCK_BYTES + last.length
}

/** Plaintext bytes of an object in GCM, both included, and the stored bytes that they need. */
export interface CounterRange {
  readonly first: number
  readonly last: number
  readonly storedFirst: number
  readonly storedLast: number
}

export function counterRange(first: number, last: number): CounterRange {
  return { first, last, storedFirst: first - first % BLOCK_BYTES, storedLast: last }
}

/** Of the first block of data: one is taken by the tag (NIST SP 800-38D, 7.1). */
const FIRST_COUNTER = 2

/**
 * The stage that opens a part of an object in GCM as counter mode does (suites 0x0071 and 0x0074 of the client's specification). NOTHING IS VERIFIED:
 * the one tag is over the whole object. Each changed bit of the store becomes a changed bit of plaintext.
 */
export class CounterOpener implements ByteStage {
  readonly #decipher
  #skip: number
  #missing: number

  constructor({ key, description: { iv } }: Pick<BodyInput, 'key' | 'description'>, { first, last, storedFirst }: CounterRange) {
    const counter = Buffer.alloc(BLOCK_BYTES)
    iv.copy(counter)
    counter.writeUInt32BE(FIRST_COUNTER + storedFirst / BLOCK_BYTES, iv.length)
    this.#decipher = createDecipheriv('aes-256-ctr', key, counter, NO_TAG)
    this.#skip = first - storedFirst
    this.#missing = last - storedFirst + 1
  }

  update(chunk: Buffer): readonly Buffer[] {
    this.#missing -= chunk.length
    if (this.#missing < 0) throw new S3ecError('s3ec-length')
    const opened = this.#decipher.update(chunk)
    const skipped = Math.min(this.#skip, opened.length)
    this.#skip -= skipped
    return [opened.subarray(skipped)]
  }

  final(): readonly Buffer[] {
    if (this.#missing !== 0) throw new S3ecError('s3ec-length')
    return []
  }
}
