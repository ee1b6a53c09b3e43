// What a person does in a real Chromium.
import { chromium } from 'playwright-core';
import { password, waitFor } from './meridian.mjs';

export function launchChromium() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

export async function signIn(page, username = 'admin') {
  await page.getByLabel('Username').fill(username);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** A window of their own, in which this person has signed in. */
export async function signedIn(browser, url, username, limitMs = 20_000) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(limitMs);
  const page = await context.newPage();
  await page.goto(url);
  await signIn(page, username);
  await page.getByRole('heading', { name: 'Catalogue' }).waitFor();
  return page;
}

/** Launches a workspace from the catalogue; its session's id. */
export async function launch(page, name, zone) {
  const card = page.locator('li').filter({ has: page.getByRole('heading', { name, exact: true }) });
  const zones = page.getByLabel('Zone', { exact: true });
  if (zone || (await zones.count()) > 0) await zones.selectOption(zone ?? '');
  await card.getByRole('button', { name: 'Launch', exact: true }).click();
  await page.waitForURL(/\/sessions\/[0-9a-f-]{36}/);
  return page.url().match(/sessions\/([0-9a-f-]{36})/)[1];
}

/** The viewer shows a desktop: its canvas is there and not of one colour. */
export async function desktopIsLive(page) {
  const canvas = page.locator('canvas').first();
  await canvas.waitFor({ state: 'visible', timeout: 60_000 });
  await waitFor('pixels in the viewer', 60_000, () =>
    canvas.evaluate((element) => {
      const { width, height } = element;
      if (!width || !height) return false;
      const { data } = element.getContext('2d').getImageData(0, 0, width, height);
      const colours = new Set();
      for (let i = 0; i < data.length && colours.size < 4; i += 4 * 97) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
      return colours.size >= 3;
    }));
  return canvas;
}

export async function type(page, text) {
  await page.keyboard.type(text, { delay: 15 });
  await page.keyboard.press('Enter');
}
