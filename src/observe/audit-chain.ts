// The keyed chain of the audit trail, docs/AUDIT.md: keys, MACs, and what a line ends with. Pure functions over bytes.
import { createHmac, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { takeKey } from '../keys/key-material.ts'

/** A key that a trail is chained under: of a keyring, or given to an auditor apart. */
export interface AuditKey {
  /** Id of the master key that it is derived from: `local:KEYRING:VERSION`. */
  readonly id: string
  /** 32 bytes; opens no object. */
  readonly key: KeyObject
}

/** Where the chain of a run stands. */
export interface Head {
  /** Of the last line; 0: none yet. */
  readonly seq: number
  /** Of the last line, 32 bytes; zeros before the first. */
  readonly mac: Buffer
}

/** What a line of a chain ends with. */
export interface Tail extends Head {
  readonly run: string
}

/**
 * `start`: of a run. `interval`: the chain goes on. `rotating`, `rotated`: the last line in a file that was moved away, and the first in the new one.
 * `torn`: lines were left unfinished, because the disk was full. `stop`: the orderly end of a run.
 */
export const checkpointReasons = ['start', 'interval', 'rotating', 'rotated', 'torn', 'stop'] as const
export type CheckpointReason = (typeof checkpointReasons)[number]

/** Heads of other runs: by run, `SEQ MAC`. */
export type Heads = Readonly<Record<string, string>>

/** A signed statement about a file, as one of its lines. */
export interface Checkpoint {
  readonly audit: 'checkpoint'
  readonly format: 1
  /** ISO 8601, UTC. */
  readonly time: string
  readonly reason: CheckpointReason
  /** Of the audit key. */
  readonly keyId: string
  /** MAC of the line before it in its run, so that a file can be verified from here. */
  readonly prev: string
  /** Bytes that the file had, at least, before this line. */
  readonly at: number
  /** Lines that this process has left unfinished since its last checkpoint. */
  readonly torn: number
  /** Where other runs stood, that have written to this file since this run's last checkpoint. */
  readonly heads: Heads
  /** The same of the file before this one; only in `start` at the beginning of a file. */
  readonly before: Heads
}

const MAC_BYTES = 32
/** Bytes of `,"mac":"…"}`, in base64url. */
const MAC_FIELD = 8 + 43 + 2
/** The longest end of a line: run, a number of 15 digits, MAC. */
const LONGEST_TAIL = 9 + 22 + 8 + 15 + MAC_FIELD
/** 43 characters have 2 bits more than the MAC: they are zero, so that each MAC has one spelling and no bit of a line can be changed unnoticed. */
const tailPattern = /,"run":"([A-Za-z0-9_-]{22})","seq":([1-9]\d{0,14}),"mac":"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"\}$/

export const NO_MAC = Buffer.alloc(MAC_BYTES)
/** Bytes that a line may have: names, and contexts of 8 KiB, with every character escaped. */
export const MOST_LINE = 262_144

/** The key of an auditor: from it nobody gets back to the master key. */
export function auditKeyOf(id: string, master: KeyObject): AuditKey {
  return { id, key: derive(master, Buffer.alloc(0), 'sealgate audit key 1') }
}

export function newRun(): string {
  return randomBytes(16).toString('base64url')
}

/** The key of one run, so that lines of one never verify in another. */
export function runKey({ key }: AuditKey, run: string): KeyObject {
  return derive(key, Buffer.from(run, 'base64url'), 'sealgate audit run 1')
}

function derive(key: KeyObject, salt: Buffer, info: string): KeyObject {
  const derived = takeKey(new Uint8Array(hkdfSync('sha256', key, salt, info, MAC_BYTES)))
  if (derived === null) throw new Error('A derived key is all zeros.')
  return derived
}

/** @param body every byte of the line before `,"mac":"`. */
export function macOf(key: KeyObject, before: Buffer, body: Buffer): Buffer {
  return createHmac('sha256', key).update(before).update(body).digest()
}

/** A line with its place in the chain. @param fields a JSON object, not empty. @param head of the line before. */
export function chainLine(fields: object, run: string, key: KeyObject, head: Head): { readonly line: string; readonly head: Head } {
  const seq = head.seq + 1
  const body = `${JSON.stringify(fields).slice(0, -1)},"run":"${run}","seq":${seq}`
  const mac = macOf(key, head.mac, Buffer.from(body))
  return { line: `${body},"mac":"${mac.toString('base64url')}"}\n`, head: { seq, mac } }
}

/** What a line ends with; null: it is no whole line of a chain. @param line without its line end. */
export function tailOf(line: Buffer): Tail | null {
  const match = tailPattern.exec(line.toString('latin1', Math.max(0, line.length - LONGEST_TAIL)))
  if (match === null) return null
  const [, run = '', seq = '', mac = ''] = match
  return { run, seq: Number(seq), mac: Buffer.from(mac, 'base64url') }
}

export function bodyOf(line: Buffer): Buffer {
  return line.subarray(0, line.length - MAC_FIELD)
}

export function showHead({ seq, mac }: Head): string {
  return `${seq} ${mac.toString('base64url')}`
}

/** null: it is none. */
export function parseHead(text: unknown): Head | null {
  const match = typeof text === 'string' ? /^([1-9]\d{0,14}) ([A-Za-z0-9_-]{43})$/.exec(text) : null
  return match === null ? null : { seq: Number(match[1]), mac: Buffer.from(match[2] ?? '', 'base64url') }
}
