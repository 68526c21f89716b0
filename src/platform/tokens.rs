//! Methods for tokens.

use mlplatform_client::protocol::Secret;
use pyo3::{prelude::*, types::PyDict};

use super::{MLPlatform, nothing};
use crate::{
    arguments, exit,
    serializers::{
        auth::{MLPRegisterTokenInfo, MLPTokenInfo, token_str},
        lists,
    },
    text::Text,
};

#[pymethods]
impl MLPlatform {
    /// Create a one-time registration token, which a colleague redeems for an access token.
    ///
    /// Name, role and lifetime of that access token are set here; the colleague cannot change them. A
    /// registration token does not reserve the name: that happens when it is redeemed.
    ///
    /// Parameters
    /// ----------
    /// client_name : str
    ///     Name of the future access token: 1 to 64 visible characters.
    /// access_ttl : str, datetime.timedelta, int or float
    ///     Lifetime of the *registration* token: text such as ``"2h45m30s"`` (units w, d, h, m, s, ms, us, ns),
    ///     a ``timedelta``, or seconds; at least one second. Expired, it cannot be redeemed.
    /// refresh_ttl : str, datetime.timedelta, int or float, optional
    ///     Lifetime of the *access* token from its creation, in the same forms. Default: it never expires.
    /// token_type : MLPTokenType
    ///     ``MLPTokenType.USER``, or ``MLPTokenType.ADMIN``, which can also manage tokens.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// TokenStr
    ///     The registration token's value: a ``str`` whose ``repr`` is masked. It is shown only once.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    /// ConflictException
    ///     A valid access token has that name.
    /// BadRequestException
    ///     An argument is invalid. Also a ``ValueError``.
    ///
    /// Examples
    /// --------
    /// >>> from mlplatform_client.serializers.auth import MLPTokenType
    /// >>> register_token = mlp.create_register_token(
    /// ...     client_name="anna", access_ttl="2h45m30s", refresh_ttl="2h", token_type=MLPTokenType.USER)
    #[pyo3(signature = (client_name, access_ttl, *, refresh_ttl=None, token_type, timeout=None, **kwargs))]
    #[allow(clippy::too_many_arguments, reason = "the reference's signature")]
    fn create_register_token(
        &self,
        py: Python<'_>,
        client_name: Text<'_>,
        access_ttl: &Bound<'_, PyAny>,
        refresh_ttl: Option<&Bound<'_, PyAny>>,
        token_type: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        const KNOWN: [&str; 5] = ["client_name", "access_ttl", "refresh_ttl", "token_type", "timeout"];
        arguments::refuse_unknown("create_register_token", &KNOWN, kwargs)?;
        let client_name = client_name.read("client_name")?;
        let access_ttl = arguments::lifetime("access_ttl", access_ttl)?;
        let refresh_ttl = refresh_ttl.map(|value| arguments::lifetime("refresh_ttl", value)).transpose()?;
        let role = arguments::role("token_type", token_type)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(&inside, |client| async move {
            client.create_register_token(&client_name, access_ttl, refresh_ttl, role, timeout).await
        }, |py, token| token_str(py, &token))
    }

    /// The registration tokens of the platform with their states, oldest first.
    ///
    /// All of them: waiting, redeemed, expired and withdrawn ones. ``replay_count`` is not 0 if somebody tried to redeem one
    /// again: another person has seen the value.
    ///
    /// Parameters
    /// ----------
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// list of MLPRegisterTokenInfo
    ///     All of them; long lists are fetched page by page.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The role is not Administrator, or the object's own token is unknown, expired or deleted.
    ///
    /// Examples
    /// --------
    /// >>> from mlplatform_client.serializers.auth import MLPRegisterTokenState
    /// >>> for info in mlp.get_register_tokens_info():
    /// ...     if info.state == MLPRegisterTokenState.WAITING:
    /// ...         print(info)
    #[pyo3(signature = (*, timeout=None, **kwargs))]
    fn get_register_tokens_info(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("get_register_tokens_info", &["timeout"], kwargs)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.get_register_tokens_info(timeout).await },
            |py, infos| lists::list(py, infos, |info| MLPRegisterTokenInfo::from_protocol(py, &info)),
        )
    }

    /// Withdraw a registration token that nobody has redeemed; from then on nobody can.
    ///
    /// Withdrawing one that was withdrawn before, or has expired, is no error.
    ///
    /// Parameters
    /// ----------
    /// token_id : str
    ///     Its id (``tok_…``), as ``get_register_tokens_info`` lists it; not its value.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     No registration token ever had that id.
    /// ConflictException
    ///     It was redeemed: ``delete_token`` ends the access token that was made with it.
    /// BadRequestException
    ///     This is no id, but a token's value, say. Also a ``ValueError``.
    /// ForbiddenException
    ///     The role is not Administrator, or the object's own token is unknown, expired or deleted.
    #[pyo3(signature = (token_id, *, timeout=None, **kwargs))]
    fn delete_register_token(
        &self,
        py: Python<'_>,
        token_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("delete_register_token", &["token_id", "timeout"], kwargs)?;
        let token_id = token_id.read("token_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(&inside, |client| async move { client.delete_register_token(&token_id, timeout).await }, nothing)
    }

    /// Redeem a registration token for an access token.
    ///
    /// Needs no access token and sends none; the object does not adopt the new one: make
    /// ``MLPlatform(refresh_token)`` with it.
    ///
    /// Parameters
    /// ----------
    /// register_token : str
    ///     The registration token's value; white space around it is stripped. It works once.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// TokenStr
    ///     The access token's value: a ``str`` whose ``repr`` is masked. It is shown only once: store it.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The registration token is unknown, expired or withdrawn, or was already redeemed (``field`` says when).
    /// ConflictException
    ///     A valid access token has the name; the registration token can still be redeemed.
    /// BadRequestException
    ///     The value was cut or mistyped, or is another kind of token. Also a ``ValueError``.
    #[pyo3(signature = (register_token, *, timeout=None, **kwargs))]
    fn create_refresh_token(
        &self,
        py: Python<'_>,
        register_token: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("create_refresh_token", &["register_token", "timeout"], kwargs)?;
        let register_token = Secret::from_pasted(&register_token.read("register_token")?);
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.create_refresh_token(register_token, timeout).await },
            |py, token| token_str(py, &token),
        )
    }

    /// Delete an access token; whoever uses it is refused from the next request on.
    ///
    /// The registration tokens that it issued and nobody has redeemed are withdrawn with it.
    ///
    /// Parameters
    /// ----------
    /// token_name : str
    ///     Name of a valid access token, as ``get_project_tokens_info`` lists it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     No valid access token has that name.
    /// ForbiddenException
    ///     The role is not Administrator, or the object's own token is unknown, expired or deleted.
    #[pyo3(signature = (token_name, *, timeout=None, **kwargs))]
    fn delete_token(
        &self,
        py: Python<'_>,
        token_name: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("delete_token", &["token_name", "timeout"], kwargs)?;
        let token_name = token_name.read("token_name")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(&inside, |client| async move { client.delete_token(&token_name, timeout).await }, nothing)
    }

    /// Give an access token a new value. It stays the same token: id, name, role and expiry do not change.
    ///
    /// The object does not adopt the new value of its own token: create an ``MLPlatform(refresh_token)`` with it.
    ///
    /// Parameters
    /// ----------
    /// token_name : str
    ///     Name of a valid access token: any for an Administrator, its own for a User.
    /// overlap : str, datetime.timedelta, int or float, optional
    ///     How long the old value stays valid: text such as ``"1h"``, a ``timedelta``, or seconds; at
    ///     least one second. Values of earlier rotations end by then, too. Default: all old values and their
    ///     sessions end at once, which is right for a leaked value.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// TokenStr
    ///     The token's new value: a ``str`` whose ``repr`` is masked. It is shown only once: store it.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     It is another token and the role is not Administrator, or the object's own token is not valid any more.
    /// NotFoundException
    ///     No valid access token has that name.
    /// ConflictException
    ///     The platform no longer allows tokens with such a lifetime.
    /// BadRequestException
    ///     An argument is invalid. Also a ``ValueError``.
    ///
    /// Examples
    /// --------
    /// >>> refresh_token = mlp.rotate_token("anna", overlap="1h")
    #[pyo3(signature = (token_name, *, overlap=None, timeout=None, **kwargs))]
    fn rotate_token(
        &self,
        py: Python<'_>,
        token_name: Text<'_>,
        overlap: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("rotate_token", &["token_name", "overlap", "timeout"], kwargs)?;
        let token_name = token_name.read("token_name")?;
        let overlap = overlap.map(|value| arguments::lifetime("overlap", value)).transpose()?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.rotate_token(&token_name, overlap, timeout).await },
            |py, token| token_str(py, &token),
        )
    }

    /// Delete all valid access tokens of one issuer, in one transaction.
    ///
    /// Registration tokens of the issuer and of the deleted tokens are withdrawn if they were not redeemed. The issuer's own
    /// token is kept: ``delete_token`` deletes it. Access tokens that the deleted tokens issued are kept, too.
    ///
    /// Parameters
    /// ----------
    /// issuer_name : str
    ///     Name of the token that issued them, as in ``issuer_name`` of an info; it may be a deleted
    ///     token. If several tokens have had that name, and more than one of them has tokens to delete, the call is
    ///     refused and names their ids.
    /// issuer_id : str, optional
    ///     Id of the issuer (``tok_…``), as in ``issuer_id`` of an info: only tokens of this one.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// list of MLPTokenInfo
    ///     The deleted access tokens, oldest first; may be empty.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     No token has ever had that name (and id).
    /// ConflictException
    ///     Several issuers of that name have tokens to delete: give ``issuer_id``.
    /// ForbiddenException
    ///     The role is not Administrator, or the object's own token is unknown, expired or deleted.
    #[pyo3(signature = (issuer_name, *, issuer_id=None, timeout=None, **kwargs))]
    fn delete_issuer_tokens(
        &self,
        py: Python<'_>,
        issuer_name: Text<'_>,
        issuer_id: Option<Text<'_>>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("delete_issuer_tokens", &["issuer_name", "issuer_id", "timeout"], kwargs)?;
        let issuer_name = issuer_name.read("issuer_name")?;
        let issuer_id = issuer_id.map(|text| text.read("issuer_id")).transpose()?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.delete_issuer_tokens(&issuer_name, issuer_id.as_deref(), timeout).await },
            |py, infos| lists::list(py, infos, |info| MLPTokenInfo::from_protocol(py, &info)),
        )
    }

    /// The token of this object.
    ///
    /// Parameters
    /// ----------
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// MLPTokenInfo
    ///     Its name, role, issuer and expiry; never its value.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The token is unknown, expired or deleted.
    #[pyo3(signature = (*, timeout=None, **kwargs))]
    fn who_am_i(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("who_am_i", &["timeout"], kwargs)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.who_am_i(timeout).await },
            |py, info| MLPTokenInfo::from_protocol(py, &info),
        )
    }

    /// The valid access tokens of the platform, oldest first. Registration tokens are not included.
    ///
    /// Parameters
    /// ----------
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// list of MLPTokenInfo
    ///     All of them; long lists are fetched page by page.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The role is not Administrator, or the object's own token is unknown, expired or deleted.
    #[pyo3(signature = (*, timeout=None, **kwargs))]
    fn get_project_tokens_info(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("get_project_tokens_info", &["timeout"], kwargs)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.get_project_tokens_info(timeout).await },
            |py, infos| lists::list(py, infos, |info| MLPTokenInfo::from_protocol(py, &info)),
        )
    }
}
