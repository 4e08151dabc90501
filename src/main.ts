#!/usr/bin/env node
import { writeSync } from 'node:fs'
import process from 'node:process'
import { runCommand } from './cli/commands.ts'
import { loadNativeCore } from './native/core.ts'

// An unexpected state: continuing could break a guarantee. Logs the place without the message, which may quote data, and exits.
process.on('uncaughtException', (thrown: unknown) => {
  // A thrown value need not be an Error.
  const error = thrown instanceof Error ? thrown : new Error()
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line)).map((line) => line.trim())
  writeSync(2, `${JSON.stringify({ level: 'fatal', time: new Date().toISOString(), name: error.name, code: codeOf(error), at: frames })}\n`)
  process.exit(1)
})

function codeOf(error: Error): string | null {
  return 'code' in error && typeof error.code === 'string' ? error.code : null
}

loadNativeCore(process.env['SEALGATE_NATIVE'] !== 'off')

process.exit(
  await runCommand({
    args: process.argv.slice(2),
    env: process.env,
    cwd: process.cwd(),
    stdout: process.stdout,
    stderr: process.stderr,
    onSignal: (signal, action) => {
      process.on(signal, action)
    }
  })
)
