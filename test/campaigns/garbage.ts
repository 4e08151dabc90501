// What 500 requests of each kind leave in the old generation, and full collections while 1.5 GiB of bodies pass.
import process from 'node:process'
import { garbage } from '../gateway/garbage-run.ts'

const { left, full, bodyBytes } = await garbage(500, 32, 2000)
for (const [name, bytes] of left) console.log(`${name}: ${bytes.toFixed(0)} bytes a request`)
console.log(`${full} full collections in ${bodyBytes.toLocaleString('en')} bytes of bodies`)
process.exitCode = full < 10 && [...left.values()].every((bytes) => bytes < 2500) ? 0 : 1
