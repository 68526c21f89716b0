//! Methods for tokens. Each calls one route; arguments are checked before a request is sent.

use std::time::Duration;

use mlplatform_protocol::{
    Lifetime, RegisterTokenInfo, Role, Secret, TokenId, TokenInfo, TokenKind, TokenName,
    routes::{
        CreateRefreshToken, CreateRegisterToken, DeleteIssuerTokens, DeleteRegisterToken, DeleteToken,
        GetProjectTokensInfo, GetRegisterTokensInfo, RotateToken, WhoAmI,
    },
    token::{self, Shape},
    tokens::{
        CreateRefreshTokenRequest, CreateRegisterTokenRequest, DeleteIssuerTokensRequest, DeleteRegisterTokenRequest,
        DeleteTokenRequest, Nothing, RotateTokenRequest,
    },
};

use crate::{client::Client, error::Error, session::damaged};

impl Client {
    /// Creates a registration token and returns its value, which cannot be retrieved later.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn create_register_token(
        &self,
        client_name: &str,
        access_ttl: Lifetime,
        refresh_ttl: Option<Lifetime>,
        token_type: Role,
        timeout: Option<Duration>,
    ) -> Result<Secret, Error> {
        let client_name = TokenName::new(client_name).map_err(|problem| Error::argument("client_name", problem))?;
        let request = CreateRegisterTokenRequest { client_name, access_ttl, refresh_ttl, token_type };
        Ok(self.call::<CreateRegisterToken>(&request, self.deadline(timeout)).await?.register_token)
    }

    /// All registration tokens, in every state; `timeout` is for all pages together.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_register_tokens_info(&self, timeout: Option<Duration>) -> Result<Vec<RegisterTokenInfo>, Error> {
        self.call_pages::<GetRegisterTokensInfo, _>(|page| page, self.deadline(timeout)).await
    }

    /// Withdraws a registration token that was not redeemed.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete_register_token(&self, token_id: &str, timeout: Option<Duration>) -> Result<(), Error> {
        let token_id = TokenId::new(token_id).map_err(|problem| Error::argument("token_id", problem))?;
        self.call::<DeleteRegisterToken>(&DeleteRegisterTokenRequest { token_id }, self.deadline(timeout)).await
    }

    /// Redeems a registration token and returns the access token's value. Sends no credential, and does not adopt
    /// the new token.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn create_refresh_token(
        &self,
        register_token: Secret,
        timeout: Option<Duration>,
    ) -> Result<Secret, Error> {
        let problem = match token::shape(register_token.expose()) {
            Shape::Whole(TokenKind::Registration) => None,
            Shape::Opaque if register_token.expose().is_empty() => {
                Some("it is empty: give the value of a registration token".to_owned())
            }
            Shape::Opaque => None,
            Shape::Damaged(kind) => Some(damaged(kind)),
            Shape::Whole(kind) => Some(format!(
                "this is {} {}: only a registration token (it begins with '{}') can be redeemed",
                if kind == TokenKind::Access { "an" } else { "a" },
                kind.noun(),
                TokenKind::Registration.prefix()
            )),
        };
        if let Some(problem) = problem {
            return Err(Error::argument("register_token", problem));
        }
        let request = CreateRefreshTokenRequest { register_token };
        Ok(self.call::<CreateRefreshToken>(&request, self.deadline(timeout)).await?.refresh_token)
    }

    /// Deletes an access token; its sessions end at their next request.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete_token(&self, token_name: &str, timeout: Option<Duration>) -> Result<(), Error> {
        let token_name = TokenName::new(token_name).map_err(|problem| Error::argument("token_name", problem))?;
        self.call::<DeleteToken>(&DeleteTokenRequest { token_name }, self.deadline(timeout)).await
    }

    /// Gives an access token a new value; the old one stays valid for the overlap, or ends at once. Does not adopt the new
    /// value if it is this client's own token.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn rotate_token(
        &self,
        token_name: &str,
        overlap: Option<Lifetime>,
        timeout: Option<Duration>,
    ) -> Result<Secret, Error> {
        let token_name = TokenName::new(token_name).map_err(|problem| Error::argument("token_name", problem))?;
        let request = RotateTokenRequest { token_name, overlap };
        Ok(self.call::<RotateToken>(&request, self.deadline(timeout)).await?.refresh_token)
    }

    /// Deletes the valid access tokens of an issuer and returns them.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete_issuer_tokens(
        &self,
        issuer_name: &str,
        issuer_id: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Vec<TokenInfo>, Error> {
        let issuer_name = TokenName::new(issuer_name).map_err(|problem| Error::argument("issuer_name", problem))?;
        let issuer_id = issuer_id.map(TokenId::new).transpose();
        let issuer_id = issuer_id.map_err(|problem| Error::argument("issuer_id", problem))?;
        let request = DeleteIssuerTokensRequest { issuer_name, issuer_id };
        Ok(self.call::<DeleteIssuerTokens>(&request, self.deadline(timeout)).await?.items)
    }

    /// The token of this client.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn who_am_i(&self, timeout: Option<Duration>) -> Result<TokenInfo, Error> {
        self.call::<WhoAmI>(&Nothing {}, self.deadline(timeout)).await
    }

    /// All valid access tokens; `timeout` is for all pages together.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_project_tokens_info(&self, timeout: Option<Duration>) -> Result<Vec<TokenInfo>, Error> {
        self.call_pages::<GetProjectTokensInfo, _>(|page| page, self.deadline(timeout)).await
    }
}
