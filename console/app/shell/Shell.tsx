/** The frame of every page but sign-in and the session page: brand, places, the person. */

import { Burger, Button, Drawer, Menu } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Suspense } from 'react';
import { Link, NavLink, Outlet, useLocation } from 'react-router';
import { useSignOut } from '../api/queries';
import { may } from '../api/permissions';
import type { Me } from '../api/types';
import { Logo, UserIcon } from '../ui/icons';
import { PageSkeleton } from '../ui/PageSkeleton';
import { PasswordForm } from '../pages/ChangePassword';
import { ProblemNote } from '../ui/ProblemNote';
import { SidePanel } from '../ui/SidePanel';
import classes from './Shell.module.css';
import { ThemeMenu } from './ThemeMenu';

interface Place {
  to: string;
  label: string;
}

const places: Place[] = [
  { to: '/', label: 'Catalogue' },
  { to: '/sessions', label: 'My sessions' },
];

const adminPlaces: (Place & { needs: string })[] = [
  { to: '/admin/sessions', label: 'Sessions', needs: 'sessions:view' },
  { to: '/admin/zones', label: 'Zones', needs: 'zones:view' },
  { to: '/admin/nodes', label: 'Nodes', needs: 'nodes:view' },
  { to: '/admin/workspaces', label: 'Workspaces', needs: 'workspaces:view' },
  { to: '/admin/images', label: 'Images', needs: 'images:view' },
  { to: '/admin/users', label: 'Users', needs: 'users:view' },
  { to: '/admin/groups', label: 'Groups', needs: 'groups:view' },
  { to: '/admin/audit', label: 'Audit log', needs: 'audit:view' },
];

export function Shell({ me }: { me: Me }) {
  const [menuOpen, menu] = useDisclosure(false);
  const [passwordOpen, password] = useDisclosure(false);
  const signOut = useSignOut();
  const { pathname } = useLocation();
  const administered = adminPlaces.filter((place) => may(me, place.needs));
  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#content">
        Skip to content
      </a>
      <header className={classes.header}>
        <Burger
          className={classes.burger}
          size="sm"
          opened={menuOpen}
          onClick={menu.toggle}
          aria-label="Menu"
          aria-expanded={menuOpen}
        />
        <Link to="/" className={classes.brand}>
          <Logo />
          <span>Meridian</span>
        </Link>
        <nav className={classes.nav} aria-label="Pages">
          {places.map(placeLink)}
        </nav>
        <div className={classes.end}>
          <ThemeMenu />
          <Menu position="bottom-end">
            <Menu.Target>
              <Button variant="subtle" color="gray" leftSection={<UserIcon />} className={classes.person}>
                {me.name}
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Label>{me.role === 'admin' ? `${me.name}, administrator` : `Signed in as ${me.name}`}</Menu.Label>
              <Menu.Item component={Link} to="/homes">
                My homes
              </Menu.Item>
              <Menu.Item component={Link} to="/api-keys">
                API keys
              </Menu.Item>
              <Menu.Item onClick={password.open}>Change password</Menu.Item>
              <Menu.Item onClick={() => signOut.mutate()}>Sign out</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </div>
      </header>
      {administered.length > 0 && (
        <nav className={classes.administration} aria-label="Administration">
          {administered.map(placeLink)}
        </nav>
      )}
      <Drawer
        opened={menuOpen}
        onClose={menu.close}
        title="Meridian"
        size="xs"
        padding="md"
        closeButtonProps={{ 'aria-label': 'Close' }}
      >
        {/* Any choice closes the drawer. */}
        <nav className={classes.drawerNav} aria-label="Pages" onClick={menu.close}>
          {places.map(placeLink)}
          {administered.length > 0 && <span className={classes.heading}>Administration</span>}
          {administered.map(placeLink)}
        </nav>
      </Drawer>
      <SidePanel opened={passwordOpen} onClose={password.close} title="Change password">
        <PasswordForm onDone={password.close} />
      </SidePanel>
      <main id="content" className={classes.main} tabIndex={-1} key={pathname}>
        {signOut.isError && <ProblemNote error={signOut.error} />}
        <Suspense fallback={<PageSkeleton />}>
          <Outlet />
        </Suspense>
      </main>
    </div>
  );
}

function placeLink(place: Place) {
  return (
    <NavLink key={place.to} to={place.to} end className={classes.place ?? ''}>
      {place.label}
    </NavLink>
  );
}
