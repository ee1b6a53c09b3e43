import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where a development server finds the API: a running Meridian, or the mock in dev/mock. */
const server = process.env.MERIDIAN_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: 'dist',
    // noVNC's feature probe awaits at module level.
    target: ['chrome111', 'edge111', 'firefox115', 'safari16.4'],
    // Everything is a file of its own: the content security policy allows no data: scripts or fonts.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 600,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        // Few files: what every page needs in two, a small one for each page, and noVNC with the viewer.
        codeSplitting: {
          groups: [
            { name: 'vendor', test: /node_modules\/(?!@novnc)/ },
            { name: 'shared', test: /console\/app\/(api|ui|shell)\// },
          ],
        },
      },
    },
  },
  worker: { format: 'es' },
  server: { proxy: { '/api': server, '^/desktop': { target: server, ws: true } } },
  test: {
    include: ['app/**/*.test.{ts,tsx}'],
    environment: 'node',
    // One worker is enough for this many tests and kind to small machines.
    maxWorkers: 1,
  },
});
